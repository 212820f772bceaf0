"""Requests to other services: whom they must reach, and the tokens they carry."""
