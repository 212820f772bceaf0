"""Requests to other services: the servers to reach, and the tokens to send."""
