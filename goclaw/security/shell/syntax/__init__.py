"""Reads a shell text: words, commands, scripts. Contract: security.md §3.1 step 5."""
