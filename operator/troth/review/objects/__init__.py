"""What the worker reads and writes at the API server."""
