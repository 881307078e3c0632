"""The `claude` program, asked once per prompt, with the login it has on this machine. Contract: providers.md §7.2."""
