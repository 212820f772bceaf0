"""Keys, and signatures that match them: shared secrets with HMAC, and asymmetric keys."""
