"""Messages to chat platforms."""
