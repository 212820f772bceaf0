"""`CredentialRotation`: its spec, its windows and what it waits for."""
