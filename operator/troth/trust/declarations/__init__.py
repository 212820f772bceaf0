"""Indexes of what the resources declare, in which every query is a lookup."""
