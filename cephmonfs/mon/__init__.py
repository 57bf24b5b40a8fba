"""The session with the monitors; no socket, no clock."""
