"""One connection to a monitor, no socket: bytes <-> frames <-> messages."""
