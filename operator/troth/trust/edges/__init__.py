"""Edges between identities: the checks that decide whether one is live, and its scopes."""
