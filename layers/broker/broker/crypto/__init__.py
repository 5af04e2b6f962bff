"""Signing keys, handles (codes, refresh tokens, states), sealing, tokens. No I/O."""
