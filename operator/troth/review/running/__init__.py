"""Carrying out one review: what is delivered, recorded and counted."""
