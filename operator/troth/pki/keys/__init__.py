"""Keys: generation and strict reading of private keys, and public keys as JWK."""
