"""Time limit of tests that wait for an event."""

PATIENCE = 240.0
"""Seconds after which an event counts as missing.

It is no performance limit: a busy machine must not exceed it.
"""
