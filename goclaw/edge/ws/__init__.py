"""WebSocket RPC, protocol v3."""
