"""Tools that operators make of commands."""
