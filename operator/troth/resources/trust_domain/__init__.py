"""Spec and status of `TrustDomain`."""
