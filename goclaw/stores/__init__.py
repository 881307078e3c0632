"""Tables: one file per family, the trio connection and pool, the embedded server."""
