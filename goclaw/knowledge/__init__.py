"""What an agent remembers: memory, graph, skills, context files."""
