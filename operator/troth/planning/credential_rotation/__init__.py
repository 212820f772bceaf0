"""Plan of a `CredentialRotation`: which credentials are rotating, and what blocks them."""
