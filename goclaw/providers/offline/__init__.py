"""The model that is no model: fixed rules on a machine without a key. Contract: providers.md §16."""
