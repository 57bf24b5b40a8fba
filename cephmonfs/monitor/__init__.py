"""The monitor's half of the protocol: what `demo:` and the tests talk to."""
