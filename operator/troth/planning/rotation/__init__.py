"""The replacement of credentials: the handover they share, and `CredentialRotation`."""
