"""Python's cycle collector in programs that run for long."""

import gc

YOUNG = 50_000
"""Number of new objects after which it runs; Python's own default is 700."""


def collect_seldom() -> None:
    """Let it run less often. What these programs make, requests and manifests, has few cycles."""
    gc.set_threshold(YOUNG)
