"""The text of each file, from a View; no input, no output, no waiting."""
