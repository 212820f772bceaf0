"""Keys of a Secret's data that several kinds of Secrets share, as `kubernetes.io/tls` has them."""

LEAF = "tls.crt"
"""Certificate with its intermediates, PEM."""
KEY = "tls.key"
"""Private key of the certificate, PEM."""
ROOTS = "ca.crt"
"""Trusted root certificates, PEM."""
