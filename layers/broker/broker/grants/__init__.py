"""What happens to a login: one module per grant type, and the vault that keeps the provider's tokens fresh."""
