"""Configuration: one section per file, loading, masking."""
