"""Conversations: virtual actors that keep turns in order, each beside the windows and summaries it works on."""
