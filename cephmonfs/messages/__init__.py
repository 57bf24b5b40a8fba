"""What travels between client and monitors, as values."""
