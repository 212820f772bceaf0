"""Grants on topics at brokers: the checks that decide whether one is live."""
