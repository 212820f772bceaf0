"""The plan of a `ServiceIdentity`: its Secret, `identity.json`, status and restarts."""
