"""Talking to people beyond the answer of a run."""
