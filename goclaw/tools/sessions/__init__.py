"""Other conversations of the same agent."""
