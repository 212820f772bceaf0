"""Replay protection of deliveries: their key in the store, and marks that the store gets later."""
