"""Payload in, payload out: the methods by which a monitor comes to believe who we are."""
