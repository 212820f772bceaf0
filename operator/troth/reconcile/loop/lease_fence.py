"""The fence of the Lease: only the replica that holds the lease may write."""

from typing import Protocol


class LeaderFence(Protocol):
    """Whether this replica may write."""

    @property
    def remaining(self) -> float:
        """Seconds for which this replica may certainly write."""

    async def gained(self) -> None:
        """Wait until this replica may write."""
