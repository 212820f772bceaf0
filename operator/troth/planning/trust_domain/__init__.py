"""Plan of a `TrustDomain`: its authority, root rotation, token keys and issuer."""
