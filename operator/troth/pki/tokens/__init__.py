"""Signed tokens: issue, parse and verify access, transaction and webhook tokens."""
