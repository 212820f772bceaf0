"""A large cluster at a simulated API server, behind a path with latency."""
