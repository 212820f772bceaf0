"""Declared brokers and policies, the grants that policies declare, and open reviews."""
