"""Delays between attempts."""

import random


class Backoff:
    """Delays that double with each failure, with jitter so that many clients spread out."""

    def __init__(self, first: float = 0.2, most: float = 30.0) -> None:
        self.first, self.most, self.failures = first, most, 0

    def next(self) -> float:
        """Return the next delay in seconds."""
        bound = min(self.most, self.first * 2**self.failures)
        self.failures = min(self.failures + 1, 16)
        return float(bound * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret

    def reset(self) -> None:
        """Start again after a success."""
        self.failures = 0
