"""Typed facts of objects, as rules read them."""
