"""Forms of HMAC that several providers share."""
