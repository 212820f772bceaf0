"""Leave to write, which only one copy has at a time."""

from typing import Protocol


class Permit(Protocol):
    """Whether this copy may write."""

    @property
    def remaining(self) -> float:
        """For how many seconds it surely may."""

    async def gained(self) -> None:
        """Wait until it may."""
