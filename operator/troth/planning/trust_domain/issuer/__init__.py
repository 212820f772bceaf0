"""What the token issuer of a trust domain gets: its certificate and its configuration."""
