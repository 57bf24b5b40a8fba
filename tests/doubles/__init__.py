"""What stands in for the real thing, each in one module.

monitor       a monitor that does one thing wrong, over any stream
connection    a connection of the session that is open without a handshake
client        a client of a few lines, for tests of the monitor's half
world         a session and its monitors, no socket, no clock
attack        a whole client between a hostile monitor and an honest one
source        a session without monitors, for what shows it
handlers      the file system without a kernel
mount         the file system with a kernel, in a thread
mount_cephmon the mount helper with a pretended session, a program
machine       files, environment and DNS of a pretended machine
"""
