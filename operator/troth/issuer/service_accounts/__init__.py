"""Authenticates workloads by their ServiceAccount tokens."""
