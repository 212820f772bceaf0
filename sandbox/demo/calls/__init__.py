"""Calls between services: mTLS, scopes and NetworkPolicies."""
