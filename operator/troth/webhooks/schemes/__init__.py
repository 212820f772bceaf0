"""The signature schemes: one small pure module each, one protocol for all (`scheme.Scheme`)."""
