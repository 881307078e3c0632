"""Programs, and the machine they run on."""
