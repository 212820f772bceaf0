"""The setting of a play, and the errors that an operator logs in it."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import structlog
from structlog.typing import EventDict

from sandbox.processes import Tether
from tests.cluster.crashes.crash_points import CrashingPath
from tests.cluster.crashes.openings import Openings
from tests.cluster.crashes.operators import Operator, Program, Task
from tests.cluster.crashes.places import pods
from tests.cluster.crashes.play import Act, Outcome, Play
from tests.cluster.stage import Stage
from tests.cluster.witness import Witness

WATCHED = (
    *("Namespace", "TrustDomain", "ServiceIdentity", "WebhookEndpoint"),
    *("NetworkPolicy", "Secret"),
)
Ends = Mapping[Act, Outcome]


@contextmanager
def without_errors() -> Iterator[None]:
    """Fail if an operator of this process logs an unexpected error."""
    errors: list[EventDict] = []

    def note_error(_logger: object, level: str, event: EventDict) -> EventDict:
        if level == "error":
            errors.append(event)
        return event

    structlog.configure(processors=[note_error, *structlog.get_config()["processors"]])
    yield
    structlog.reset_defaults()
    assert not errors


@asynccontextmanager
async def playing(
    stage: Stage, directory: Path, *, program: bool = False, kind: type[CrashingPath] = CrashingPath
) -> AsyncIterator[Play]:
    """Start with namespaces, an operator on a path of this kind, and witnesses."""
    async with AsyncExitStack() as stack:
        path = await stack.enter_async_context(kind(stage.kubeconfig, directory / "path"))
        operator: Operator = Task(stage, path)
        if program:
            (directory / "logs").mkdir()
            operator = Program(stage, path, stack.enter_context(Tether(directory / "logs")))
        await (
            operator.begin()
        )  # once it is in sync, the API server serves the kinds to witnesses too
        stack.push_async_callback(operator.end)
        kubeconfig = stage.sandbox.kubeconfig
        witnesses = [
            await stack.enter_async_context(Witness(kubeconfig, kind, "")) for kind in WATCHED
        ]
        for label in (None, None, "nobody"):
            await stage.namespace(label)
        ground = Openings(stage.clock.now(), pods(stage.namespaces))
        yield Play(stage, path, operator, witnesses, ground)


async def without_crash(play: Play, acts_: tuple[Act, ...], times: int = 2) -> Ends:
    """Run a round twice, because the first may leave extra objects; return its outcomes."""
    ends = {}
    for act in times * acts_:
        ends[act] = await play.act(act)
        assert not ends[act].faults, f"in {act.__name__}, without_crash"
    return ends
