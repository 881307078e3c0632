"""How the world comes in: HTTP, WebSocket, command line, dashboard."""
