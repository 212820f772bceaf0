"""Forwarding of verified deliveries to their targets."""
