"""HTTP and WebSocket to calls of the service, and nothing more."""
