"""Connections of senders: TLS, and strict parsing of HTTP/1.1."""
