"""Guards and locks."""
