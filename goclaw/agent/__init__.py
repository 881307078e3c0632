"""How an agent thinks: prompt and loop."""
