"""Benchmarks of sealed events."""
