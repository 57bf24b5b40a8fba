"""trio: sockets and timers; pumps bytes through the session."""
