"""Adapters for web frameworks and servers."""
