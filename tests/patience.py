"""How long a test waits for what must happen."""

PATIENCE = 120.0
"""Seconds after which what has not come counts as never coming.

A measure of nothing: a machine that does much else beside the tests must not exceed it.
"""
