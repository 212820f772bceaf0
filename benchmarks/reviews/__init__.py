"""Benchmarks of reviews of dead letters."""
