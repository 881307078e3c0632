"""Nouns, messages, addresses, events, errors. Values only, no I/O."""
