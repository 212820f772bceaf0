"""Informers: lists and watches of the API server, and what keeps them in step."""
