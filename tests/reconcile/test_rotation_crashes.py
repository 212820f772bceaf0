"""The operator crashes after each write of a rotation in turn, without a rejection."""

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


async def writes_of_a_rotation(kind: str) -> range:
    """Return the numbers of the writes of an undisturbed rotation."""
    async with scene(*declared(kind)) as it:
        await it.live(MINUTE)
        first = len(it.server.log)
        await begin(it, kind)
        await it.live(LONG)
        assert it.phases == WHOLE
        return range(first + 1, len(it.server.log) + 1)


@pytest.mark.parametrize("part", range(SLICES))
@pytest.mark.parametrize("kind", ["own", "given"])
async def test_rotation_completes_without_rejections_after_a_crash_at_any_write(
    kind: str, part: int
) -> None:
    writes = (await writes_of_a_rotation(kind))[part::SLICES]
    assert writes
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
