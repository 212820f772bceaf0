"""The operator crashes after each write in turn, and the end is the same as without a crash.

Users create, change, rotate and delete: the acts in `acts` and `webhook_acts`. A round of acts runs
without a crash, and then again with a crash after write 1, 2, 3 and so on, until there is no such
write. Each time it must end in the same state. No Secret may have held more certificates on the
way, so no valid certificate was reissued and no rotation started twice. Witnesses see every state
of every policy, and none may be wider than declared.

`make test` takes some of the writes, and one series with a crash after every write. `make campaign`
takes all, also with `troth run` and SIGKILL, and also with an operator that survives but never gets
the answer to its write.
"""

from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings

from tests.cluster.crashes import acts, webhook_acts
from tests.cluster.crashes.crash_points import CrashPoint, Effect
from tests.cluster.crashes.play import Act, Outcome, Play
from tests.cluster.crashes.playing import Ends, playing, without_crash, without_errors
from tests.cluster.stage import Stage

ROUNDS = {
    "changed and changed back": (acts.change, acts.change_back),
    "certificate rotated": (acts.rotate_leaf,),
    "root rotated": (acts.rotate_root,),
    "tokens begun and ended": (acts.begin_tokens, acts.rotate_keys, acts.end_tokens),
    "webhooks": (
        webhook_acts.declare_webhooks,
        webhook_acts.change_webhooks,
        webhook_acts.rotate_webhook_key,
        webhook_acts.delete_webhooks,
    ),
    "created and deleted": (acts.create, acts.delete_identity, acts.delete_domain, acts.clear),
}
"""Acts that end in the state in which they begin, so that they can run again."""
THOROUGH = settings.get_current_profile_name() == "thorough"
STRIDES = {
    "changed and changed back": 8,
    "root rotated": 19,
    "tokens begun and ended": 26,
    "webhooks": 14,
    "created and deleted": 10,
}
"""Interval of the writes that `make test` takes."""
SHORT = ("certificate rotated", "root rotated")
NAMES = [pytest.param(name, marks=() if name in SHORT else pytest.mark.long) for name in ROUNDS]
PROGRAMS = [pytest.param(False, id="cancelled")]
if THOROUGH:
    PROGRAMS.append(pytest.param(True, id="SIGKILL"))


@pytest.fixture(autouse=True)
def _no_errors() -> Iterator[None]:
    with without_errors():
        yield


def crash_series(name: str, *, program: bool) -> Iterator[Iterable[CrashPoint]]:
    """Yield series of crash points, one for each run of a round."""
    stride = 1 if THOROUGH else STRIDES.get(name, 1)
    for effect in Effect if THOROUGH and not program else (Effect.KILLED,):
        yield (CrashPoint(write, effect) for write in count(1, stride))
        yield [CrashPoint(1, effect, relentless=True)]


async def walk(
    play: Play, acts_: tuple[Act, ...], series: Iterable[CrashPoint], ends: Ends
) -> None:
    """Run a round with one crash point after another, until it ends before the next one."""
    for number, point in enumerate(series):
        crashes = 0
        for act in acts_:
            outcome = await play.act(act, point, like=ends[act])
            judge(act, point, ends[act], outcome)
            crashes += outcome.crashes
        assert crashes or number, f"the operator did not crash: {point}"
        if not crashes:
            return


def judge(act: Act, point: CrashPoint, end: Outcome, outcome: Outcome) -> None:
    """Fail with the act and the write if the outcome differs."""
    wrong = [*end.differences(outcome), *outcome.faults]
    which = "every write" if point.relentless else f"write {point.write} of {len(outcome.writes)}"
    written = "" if point.relentless else outcome.writes[point.write - 1 : point.write]
    told = "\n  ".join((f"in {act.__name__}, {point.effect} {which}, {written}:", *wrong))
    assert not wrong, told


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", NAMES)
async def test_crash_after_any_write_ends_in_the_same_state(
    stage: Stage, tmp_path: Path, name: str, program: bool
) -> None:
    round_ = ROUNDS[name]
    async with playing(stage, tmp_path, program=program) as play:
        if acts.create not in round_:
            assert not (await play.act(acts.create)).faults
        ends = await without_crash(play, round_)
        for series in crash_series(name, program=program):
            await walk(play, round_, series, ends)
