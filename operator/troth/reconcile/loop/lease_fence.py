"""The fence of the Lease: only the copy that holds it may write."""

from typing import Protocol


class LeaderFence(Protocol):
    """Whether this copy may write."""

    @property
    def remaining(self) -> float:
        """Seconds for which this copy may surely write."""

    async def gained(self) -> None:
        """Wait until it may."""
