"""Several gateways on one database: membership, shards, wake-ups. Contract: durability.md §10, §12."""
