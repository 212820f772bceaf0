"""The operator crashes after each write of a rotation in turn, without a rejection."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

import pytest

from tests.builders import stamp
from tests.reconcile.rotating import IDENTITIES, Scene, scene
from tests.reconcile.test_rotation_requests import (
    MINUTE,
    OTHER_ROOT,
    WHOLE,
    given,
    of_root,
    with_a_given_ca,
)
from tests.reconcile.test_rotation_requests import SECOND as SECOND_CA
from troth.reconcile.rehearsal import Place

SLICES = 8
"""Number of tests that share the writes, to run in parallel."""
LONG = timedelta(minutes=25)


async def begin(it: Scene, kind: str) -> None:
    await it.live(MINUTE)
    if kind == "own":
        await it.user_puts(of_root(requestedAt=stamp(it.clock.now())))
    else:
        await it.user_puts(given(SECOND_CA, OTHER_ROOT))


def declared(kind: str) -> list[dict[str, object]]:
    return [] if kind == "own" else list(with_a_given_ca())


async def writes_of_a_rotation(kind: str) -> dict[int, Place]:
    """Return the writes of an undisturbed rotation by their number."""
    async with scene(*declared(kind)) as it:
        await it.live(MINUTE)
        first = len(it.server.log)
        await begin(it, kind)
        await it.live(LONG)
        assert it.phases == WHOLE
        return dict(enumerate(it.server.log[first:], first + 1))


def one_of_each(writes: dict[int, Place]) -> Iterator[int]:
    """Yield the first write of each sort between two statuses of the trust domain."""
    statuses, seen = 0, set()
    for number, (kind, ref) in writes.items():
        statuses += kind == "TrustDomain"
        sort = statuses, kind, ref.name.endswith("-identity")
        if sort not in seen:
            yield number
        seen.add(sort)


@pytest.mark.parametrize("kind", ["own", "given"])
async def test_rotation_completes_without_rejections_after_a_crash_at_each_sort_of_write(
    kind: str,
) -> None:
    writes = await writes_of_a_rotation(kind)
    await crash_at_each_of(kind, one_of_each(writes))


@pytest.mark.long
@pytest.mark.parametrize("part", range(SLICES))
@pytest.mark.parametrize("kind", ["own", "given"])
async def test_rotation_completes_without_rejections_after_a_crash_at_any_write(
    kind: str, part: int
) -> None:
    writes = [*await writes_of_a_rotation(kind)][part::SLICES]
    assert writes
    await crash_at_each_of(kind, writes)


async def crash_at_each_of(kind: str, writes: Iterable[int]) -> None:
    for number in writes:
        async with scene(*declared(kind)) as it:
            await it.live(MINUTE)
            it.server.crash_after = number
            before = it.active
            await begin(it, kind)
            await it.live(LONG)
            told = f"killed after write {number}: {it.server.log[number - 1]}"
            assert it.crashes == 1, told
            assert it.phase == "Idle", told
            assert it.active != before, told
            assert len(it.status["authorities"]) == 1, told
            assert it.broken == [], told
            issued = [place for place in it.server.log if place[1].name.endswith("-identity")]
            undisturbed = 4 * len(IDENTITIES)  # issued, new root added, reissued, old root removed
            assert len(issued) == undisturbed, told
