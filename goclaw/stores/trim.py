"""Forgetting old rows, a few at a time. Contract: data-model.md §18."""

from __future__ import annotations

TRIMMED = 5_000  # at most in one transaction


def trimming(table: str, at: str, old: str) -> str:
    """The statement that deletes the oldest rows by column `at` of those the condition `old` fits, and counts them."""
    return f"""
WITH trimmed AS (
  DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {old} ORDER BY {at} LIMIT {TRIMMED})
  RETURNING 1)
SELECT count(*) FROM trimmed
"""
