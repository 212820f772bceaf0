"""Writes that the API server rejects, and how they are reported."""
