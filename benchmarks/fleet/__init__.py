"""Benchmarks of the operator with fleets of identities."""
