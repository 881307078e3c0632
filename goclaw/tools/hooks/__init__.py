"""Hooks: their conditions, their handlers, the chain of them."""
