"""Clients of brokers that the operator and the edge share."""
