"""Benchmarks of the token issuer and the middleware."""
