"""Agents that are programs of their own and speak the Agent Client Protocol. Contract: providers.md §7.1."""
