"""Spec, windows and blockers of `CredentialRotation`."""
