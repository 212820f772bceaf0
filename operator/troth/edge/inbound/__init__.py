"""Requests from other services: verified before the application sees them."""
