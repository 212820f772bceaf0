"""`ServiceIdentity`: its spec and its status."""
