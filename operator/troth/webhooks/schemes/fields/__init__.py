"""Strict readers of the values in a delivery: signed URLs, encodings, IDs and timestamps."""
