"""The mark between the part of a prompt that stays the same and the part that changes. Contract: providers.md §4.1."""

CACHE_BOUNDARY = "<!-- GOCLAW_CACHE_BOUNDARY -->"
