"""NATS in operator mode."""
