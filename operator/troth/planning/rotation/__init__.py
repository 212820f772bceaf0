"""Rotation of credentials: the handover that all share, and the plan of `CredentialRotation`."""
