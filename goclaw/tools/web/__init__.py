"""The web: searching it and reading it."""
