"""Typed, public facts of observed objects, without private keys."""
