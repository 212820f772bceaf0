"""The rotation act: a root is replaced while services call each other and the operator crashes."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.programs import LEASE
from sandbox.demo.rotation.fleet import NAME, PROPAGATION, SERVICES, Fleet
from sandbox.demo.screen import Screen
from sandbox.demo.shop import Place, Shop
from sandbox.demo.trials import Observation, over
from sandbox.node.api import Api
from sandbox.node.traffic import Traffic
from sandbox.node.workload import Files, Outcome, Tally

COMMAND = ("rotate", f"td/{NAME}", "--now")
DOMAINS = "/apis/troth.dev/v1alpha1/trustdomains"
IDLE, CRASHES_IN = "Idle", "Reissuing"
BEFORE, AFTER = "before", "afterwards"
BEFORE_SECONDS = 1.0
SECONDS = 120.0
UNKNOWN_ROOT = "handshake by server: unknown certificate authority"


def show_rotation(screen: Screen, cluster: Cluster, shop: Shop, crash: Callable[[], None]) -> bool:
    """Replace the root of services that call each other; return whether no call fails.

    `crash` kills the operator and starts another.
    """
    screen.title("Rotation: a root is replaced while services call each other")
    fleet = Fleet(cluster)
    with screen.step("fleet") as say:
        fleet.start(shop)
        say(f"{SERVICES} services, each calls the next; bundle.propagation {PROPAGATION.seconds}s")
    outdated = fleet.certificates()
    calls = _Calls(screen, fleet.traffic())
    time.sleep(BEFORE_SECONDS)
    _rotate(cluster)
    asyncio.run(_follow(screen, cluster.sandbox.kubeconfig, calls, crash))
    late = _with_outdated(fleet, outdated)
    calls.end(AFTER)
    rejected = [str(each) for each in late if str(each) == UNKNOWN_ROOT]
    results = [
        over(
            *("each service", "calls the next"),
            Observation(
                {"failures": [*dict.fromkeys(map(str, calls.tally.failures))]},
                (calls.summary,),
            ),
            failures=[],
        ),
        over(
            *("each service", "presents an old certificate"),
            Observation(
                {"outcomes": {*map(str, late)}}, (f"{len(rejected)} of {len(late)} rejected",)
            ),
            outcomes={UNKNOWN_ROOT},
        ),
    ]
    return screen.trials(results, "who", "what it does", "outcome") and not calls.tally.failed


class _Calls:
    """Calls that go on, shown phase by phase."""

    def __init__(self, screen: Screen, traffic: Traffic) -> None:
        self._screen = screen
        self._traffic = traffic
        self._began = self._since = time.monotonic()
        self.tally = Tally()
        traffic.begin()

    def show(self, phase: str) -> None:
        """Show the calls since the last phase."""
        self._show(phase, self._traffic.tally())

    def end(self, phase: str) -> None:
        """Stop the calls and show the last of them."""
        self._show(phase, self._traffic.end())

    @property
    def summary(self) -> str:
        """The number of all calls, and of those between an old and a new certificate."""
        tally, seconds = self.tally, self._since - self._began
        mixed = sum(count for (one, other), count in tally.answered.items() if one != other)
        return f"{_counted(tally)}, {tally.calls / seconds:.0f}/s, {mixed} across roots"

    def _show(self, phase: str, tally: Tally) -> None:
        now, new = time.monotonic(), tally.since(self.tally)
        self._screen.line(phase, _counted(new), now - self._since, wrong=bool(new.failed))
        self._since, self.tally = now, tally


def _counted(tally: Tally) -> str:
    return f"{tally.calls} handshakes, {tally.failed} failed"


def _with_outdated(fleet: Fleet, outdated: Mapping[Place, Files]) -> list[Outcome]:
    """Call with old certificates until all are rejected or the propagation delay is over."""
    deadline = time.monotonic() + PROPAGATION.total_seconds()
    while True:
        over = time.monotonic() > deadline
        outcomes = fleet.call(outdated)
        if over or all(str(each) == UNKNOWN_ROOT for each in outcomes):
            return outcomes


def _rotate(cluster: Cluster) -> None:
    """Request a new root, as a person does; raises `DemoError` if the command fails."""
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
    screen: Screen, kubeconfig: Path, calls: _Calls, crash: Callable[[], None]
) -> None:
    """Show the calls of each phase of the rotation, and crash the operator in one of them."""
    phase, api = IDLE, Api.of(kubeconfig)
    try:
        async with asyncio.timeout(SECONDS):
            async for _, domain in api.follow(DOMAINS, fields=f"metadata.name={NAME}"):
                now = domain["status"]["rotation"]["phase"]
                if now == phase:
                    continue
                await asyncio.to_thread(calls.show, BEFORE if phase == IDLE else phase)
                if phase == IDLE:
                    screen.command(f"troth {' '.join(COMMAND)}")
                phase = now
                if phase == CRASHES_IN:
                    screen.explain(
                        f"The operator is killed. Another takes over when its lease ends, after "
                        f"{LEASE}."
                    )
                    await asyncio.to_thread(crash)
                if phase == IDLE:
                    return
    except TimeoutError as error:
        raise DemoError(f"the rotation of {NAME} did not finish; its phase is {phase}") from error
    finally:
        await api.close()
