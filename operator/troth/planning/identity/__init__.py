"""Planning for a `ServiceIdentity`: Secret, `identity.json`, NetworkPolicy, status, restarts."""
