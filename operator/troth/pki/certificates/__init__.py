"""Certificates: authorities, issuing of roots and leaves, and certification paths."""
