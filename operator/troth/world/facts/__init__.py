"""Typed, public facts of observed objects. Private keys are not among them."""
