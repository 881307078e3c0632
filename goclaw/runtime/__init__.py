"""The actor kernel: mailboxes, supervisors, registry, clock. Knows nothing of the product."""
