"""A root is replaced while everybody talks, and the operator is killed in the middle of it."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.fleet import NAME, PROPAGATION, Fleet
from sandbox.demo.shop import Place
from sandbox.node.api import Api
from sandbox.node.traffic import Traffic
from sandbox.node.workload import Files, Outcome, Tally

COMMAND = ("rotate", f"td/{NAME}", "--now")
DOMAINS = "/apis/troth.dev/v1alpha1/trustdomains"
IDLE, KILLED_IN = "Idle", "Reissuing"
BEFORE, AFTER = "before", "afterwards"
BEFORE_SECONDS = 1.0
"""For how long there are calls before."""
SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Span:
    """What became of the calls while a rotation was in one phase."""

    phase: str
    seconds: float
    tally: Tally


@dataclass(frozen=True, slots=True)
class Replacement:
    """What became of all calls, and of `late` ones, each with a certificate of the old root."""

    tally: Tally
    seconds: float
    late: Sequence[Outcome]

    @property
    def rate(self) -> float:
        """How many calls there were a second."""
        return self.tally.calls / self.seconds

    @property
    def across(self) -> int:
        """How many were between one with a certificate of the new root and one of the old."""
        return sum(
            count for (caller, callee), count in self.tally.answered.items() if caller != callee
        )

    @property
    def refused(self) -> int:
        """How many of the late ones were refused for their root."""
        return sum(map(is_refused, self.late))

    @property
    def is_wrong(self) -> bool:
        """Whether a call failed, or somebody still believes the old root."""
        return bool(self.tally.failed) or self.refused < len(self.late)


class Counting:
    """Calls that go on, cut into spans."""

    def __init__(self, traffic: Traffic) -> None:
        self._traffic = traffic
        self._began = self._since = time.monotonic()
        self.tally = Tally()
        traffic.begin()

    @property
    def seconds(self) -> float:
        """How long it went on, up to the last cut."""
        return self._since - self._began

    def cut(self, phase: str) -> Span:
        """Return what became of the calls since the last cut."""
        return self._span(phase, self._traffic.tally())

    def end(self, phase: str) -> Span:
        """The same, and there are no more."""
        return self._span(phase, self._traffic.end())

    def _span(self, phase: str, tally: Tally) -> Span:
        now = time.monotonic()
        span = Span(phase, now - self._since, tally.since(self.tally))
        self._since, self.tally = now, tally
        return span


def replace_root(
    cluster: Cluster, fleet: Fleet, show: Callable[[Span], None], crash: Callable[[], None]
) -> Replacement:
    """Have a fleet talk while its root is replaced; show what became of the calls in each phase.

    In the middle there is a `crash`. Raises `DemoError` if the root is not replaced in time.
    """
    outdated = fleet.certificates()
    counting = Counting(fleet.traffic())
    time.sleep(BEFORE_SECONDS)
    ask(cluster)
    asyncio.run(_follow(cluster.sandbox.kubeconfig, counting, show, crash))
    late = _disbelieved(fleet, outdated)
    show(counting.end(AFTER))
    return Replacement(counting.tally, counting.seconds, late)


def _disbelieved(fleet: Fleet, outdated: Mapping[Place, Files]) -> list[Outcome]:
    """Show old certificates until all are refused, or all have had time to read their files."""
    deadline = time.monotonic() + PROPAGATION.total_seconds()
    while True:
        over = time.monotonic() > deadline
        late = fleet.call(outdated)
        if over or all(map(is_refused, late)):
            return late


def is_refused(outcome: Outcome) -> bool:
    """Whether a callee knows the root of a certificate no more."""
    return str(outcome) == "handshake by server: unknown certificate authority"


def ask(cluster: Cluster) -> None:
    """Ask for another root, as a person does; raises `DemoError` if that is refused."""
    done = subprocess.run(
        [sys.executable, "-m", "troth.cli", *COMMAND],
        env=os.environ | {"TROTH_KUBECONFIG": str(cluster.sandbox.kubeconfig)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoError(f"troth {' '.join(COMMAND)}: {done.stderr}")


async def _follow(
    kubeconfig: Path, counting: Counting, show: Callable[[Span], None], crash: Callable[[], None]
) -> None:
    phase, api = IDLE, Api.of(kubeconfig)
    try:
        async with asyncio.timeout(SECONDS):
            async for _, domain in api.follow(DOMAINS, fields=f"metadata.name={NAME}"):
                now = domain["status"]["rotation"]["phase"]
                if now == phase:
                    continue
                show(await asyncio.to_thread(counting.cut, BEFORE if phase == IDLE else phase))
                phase = now
                if phase == KILLED_IN:
                    await asyncio.to_thread(crash)
                if phase == IDLE:
                    return
    except TimeoutError as error:
        raise DemoError(f"the root of {NAME} was not replaced, but stayed {phase}") from error
    finally:
        await api.close()
