"""`troth issue`: the token issuer of one trust domain."""
