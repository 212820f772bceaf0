"""Signature schemes: a small pure module for each, with one protocol (`scheme.Scheme`)."""
