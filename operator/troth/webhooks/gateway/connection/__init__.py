"""A sender's connection: TLS, and one strict reading of HTTP/1.1."""
