"""Comparison of an operator's cache with the API server."""

from tests.cluster.stage import Copy
from troth.world.world import Difference


async def is_in_step(copy: Copy) -> None:
    """Assert that a running copy knows every object as the API server has it, and no other."""
    found: list[tuple[str, Difference]] = []
    for resync in copy.operator.resyncs:
        resync._on_difference = lambda *what: found.append(what)
        await resync.compare()
    assert found == []
