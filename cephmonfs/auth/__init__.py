"""Authentication methods: payload in, payload out."""
