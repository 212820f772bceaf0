"""Tokens: on whose behalf a service calls, and what it may do."""
