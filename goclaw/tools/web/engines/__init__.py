"""Who searches the web: one file per vendor. Contract: tools.md §11."""
