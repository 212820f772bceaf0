"""Conversion of raw objects of the API server to facts."""
