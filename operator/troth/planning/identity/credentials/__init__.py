"""Credentials of an identity beside its certificate: at brokers, and for webhooks that it signs."""
