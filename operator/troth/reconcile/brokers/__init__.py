"""Observing and changing brokers, outside the reconcile loop."""
