"""`TrustDomain`: its spec and its status."""
