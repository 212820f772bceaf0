"""Repairs of objects that other clients change, and who changes them."""
