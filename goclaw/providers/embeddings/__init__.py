"""Texts as vectors, so that what is alike lies close together. Contract: providers.md §12, §16.7."""
