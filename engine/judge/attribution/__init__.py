"""Terms of the attribution of changes, one a file."""
