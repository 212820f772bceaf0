"""The operator dies after every write in turn, and nobody can tell afterwards.

People create a trust domain with identities, change them, have a certificate and the root
replaced, and delete; and so with the endpoints of webhooks: a few acts, told in `acts` and in
`hook_acts`. Each is played undisturbed, and then again and
again with the operator killed after its write 1, 2, 3 and so on, until there is no such write.
Every time it must end as it did undisturbed; no Secret may have held more certificates in the
course of it, so that nothing was issued in place of what was good, and no rotation decided twice;
and at no moment may a policy have been wider than declared, of which witnesses see every state.

`make test` plays some of these, and then one in which every write is an operator's last, so that
one begins after each. `make campaign` plays all, also with `troth run` as a process and SIGKILL,
and also with an operator that lives on and has not heard that its write was carried out.
"""

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path

import pytest
import structlog
from hypothesis import settings
from structlog.typing import EventDict

from sandbox.processes import Tether
from tests.cluster.crashes import acts, hook_acts
from tests.cluster.crashes.fates import Doom, Fate, FatefulPath
from tests.cluster.crashes.lives import Life, Program, Task
from tests.cluster.crashes.openings import Ground
from tests.cluster.crashes.places import pods
from tests.cluster.crashes.play import Act, Outcome, Play
from tests.cluster.stage import Stage
from tests.cluster.witness import Witness

WATCHED = (
    *("Namespace", "TrustDomain", "ServiceIdentity", "WebhookEndpoint"),
    *("NetworkPolicy", "Secret"),
)
ROUNDS = {
    "changed and changed back": (acts.change, acts.change_back),
    "certificate rotated": (acts.rotate_leaf,),
    "root rotated": (acts.rotate_root,),
    "tokens begun and ended": (acts.begin_tokens, acts.rotate_keys, acts.end_tokens),
    "webhooks": (
        hook_acts.declare_hooks,
        hook_acts.change_hooks,
        hook_acts.rotate_hook,
        hook_acts.delete_hooks,
    ),
    "created and deleted": (acts.create, acts.delete_identity, acts.delete_domain, acts.clear),
}
"""Acts that end where they began, so that they can be played again."""
Ends = Mapping[Act, Outcome]
THOROUGH = settings.get_current_profile_name() == "thorough"
STRIDES = {
    "changed and changed back": 5,
    "root rotated": 12,
    "tokens begun and ended": 17,
    "webhooks": 9,
    "created and deleted": 6,
}
"""Of how many writes one is taken by `make test`."""
PROGRAMS = [pytest.param(False, id="cancelled")]
if THOROUGH:
    PROGRAMS.append(pytest.param(True, id="SIGKILL"))

errors: list[EventDict] = []


def note_error(_logger: object, level: str, event: EventDict) -> EventDict:
    """Remember what the operator has no sentence for."""
    if level == "error":
        errors.append(event)
    return event


@pytest.fixture(autouse=True)
def _no_errors() -> Iterator[None]:
    errors.clear()
    structlog.configure(processors=[note_error, *structlog.get_config()["processors"]])
    yield
    structlog.reset_defaults()
    assert not errors


@asynccontextmanager
async def playing(stage: Stage, directory: Path, *, program: bool) -> AsyncIterator[Play]:
    """Begin with namespaces, an operator, and witnesses of everything."""
    async with AsyncExitStack() as stack:
        path = await stack.enter_async_context(FatefulPath(stage.kubeconfig, directory / "path"))
        life: Life = Task(stage, path)
        if program:
            (directory / "logs").mkdir()
            life = Program(stage, path, stack.enter_context(Tether(directory / "logs")))
        await life.begin()  # once it is in sync, the API server serves the kinds to witnesses too
        stack.push_async_callback(life.end)
        kubeconfig = stage.sandbox.kubeconfig
        witnesses = [
            await stack.enter_async_context(Witness(kubeconfig, kind, "")) for kind in WATCHED
        ]
        for label in (None, None, "nobody"):
            await stage.namespace(label)
        ground = Ground(stage.clock.now(), pods(stage.namespaces))
        yield Play(stage, path, life, witnesses, ground)


async def undisturbed(play: Play, acts_: tuple[Act, ...]) -> Ends:
    """Play a round twice, for the first may find less than it leaves; return how its acts end."""
    ends = {}
    for act in (*acts_, *acts_):
        ends[act] = await play.act(act)
        assert not ends[act].faults, f"in {act.__name__}, undisturbed"
    return ends


def dooms(name: str, *, program: bool) -> Iterator[Iterable[Doom]]:
    """Yield, series by series, what befalls the operator in play after play until nothing does."""
    stride = 1 if THOROUGH else STRIDES.get(name, 1)
    for fate in Fate if THOROUGH and not program else (Fate.KILLED,):
        yield (Doom(write, fate) for write in count(1, stride))
        yield [Doom(1, fate, relentless=True)]


async def walk(play: Play, acts_: tuple[Act, ...], series: Iterable[Doom], ends: Ends) -> None:
    """Play a round under one doom after another, until the operator is through before its own."""
    for number, doom in enumerate(series):
        met = 0
        for act in acts_:
            outcome = await play.act(act, doom, like=ends[act])
            judge(act, doom, ends[act], outcome)
            met += outcome.met
        assert met or number, f"nothing has befallen the operator: {doom}"
        if not met:
            return


def judge(act: Act, doom: Doom, end: Outcome, outcome: Outcome) -> None:
    """Fail with the act and the write, if anybody can tell."""
    wrong = [*end.differences(outcome), *outcome.faults]
    which = "every write" if doom.relentless else f"write {doom.write} of {len(outcome.writes)}"
    written = "" if doom.relentless else outcome.writes[doom.write - 1 : doom.write]
    told = "\n  ".join((f"in {act.__name__}, {doom.fate} {which}, {written}:", *wrong))
    assert not wrong, told


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("name", ROUNDS)
async def test_nobody_can_tell_after_which_write_an_operator_died(
    stage: Stage, tmp_path: Path, name: str, program: bool
) -> None:
    round_ = ROUNDS[name]
    async with playing(stage, tmp_path, program=program) as play:
        if acts.create not in round_:
            assert not (await play.act(acts.create)).faults
        ends = await undisturbed(play, round_)
        for series in dooms(name, program=program):
            await walk(play, round_, series, ends)
