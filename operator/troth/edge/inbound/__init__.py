"""Verification of requests from other services, before the application sees them."""
