"""Benchmarks of the webhook gateway."""
