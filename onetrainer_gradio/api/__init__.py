"""REST and WebSocket endpoints that call the service."""
