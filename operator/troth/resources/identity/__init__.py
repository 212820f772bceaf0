"""Spec and status of `ServiceIdentity`."""
