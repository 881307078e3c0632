"""Chaos mode: operators break the living tree on purpose and read what it cost. Contract: supervision.md §21."""
