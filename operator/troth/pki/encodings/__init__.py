"""Strict readers of the encodings, in which each value has exactly one accepted form."""
