"""One module per endpoint, each a list of steps from Request to Response."""
