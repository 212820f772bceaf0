"""Applying the steps of a plan."""
