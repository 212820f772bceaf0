"""An operator that can crash and start again: a task of this process, or a separate process."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol

from sandbox.processes import Tether
from tests.cluster.crashes.crash_points import CrashingPath
from tests.cluster.process import Process
from tests.cluster.stage import QUICK, Copy, Stage
from troth.reconcile.operator import LEASE, Settings
from troth.resources.references import Ref

HASTY = "tests.cluster.tokens.hasty"
"""`troth` with token lifetimes of seconds, and publication of old signing keys to match."""


class Operator(Protocol):
    """A sequence of operators, one at a time."""

    propagation: timedelta
    """Propagation delay of the trust domain, short so that no test waits for minutes."""

    async def begin(self) -> None:
        """Start one and wait until it is the leader."""

    async def end(self) -> None:
        """End it without releasing its lease."""

    def check(self) -> None:
        """Fail if it has ended by itself."""

    def now(self) -> datetime:
        """Return its time."""

    async def live(self, length: timedelta) -> None:
        """Let time pass."""


@dataclass
class Task:
    """The operator inside `troth run`, on a path that passes nothing after a crash.

    Its end cancels it. Its clock moves only on request.
    """

    stage: Stage
    path: CrashingPath
    propagation = timedelta(minutes=3)

    async def begin(self) -> None:
        # the same name each time, as a restarted container: it still holds its lease
        settings = Settings(self.stage.own, "copy", QUICK)
        self._copy = Copy(self.path.kubeconfig, settings, self.stage.clock)
        await self._copy.start()
        await self._copy.acting()

    async def end(self) -> None:
        await self._copy.stop()

    def check(self) -> None:
        self._copy._check()

    def now(self) -> datetime:
        return self.stage.clock.now()

    async def live(self, length: timedelta) -> None:
        await self.stage.later(length)


@dataclass
class Program:
    """`troth run`, ended with SIGKILL."""

    stage: Stage
    path: CrashingPath
    tether: Tether
    propagation = timedelta(seconds=1)
    _number: int = 0

    async def begin(self) -> None:
        # another process is another holder; the test does not wait until the lease expires
        await self.stage.person.delete("Lease", Ref(self.stage.own, LEASE))
        self._number += 1
        name = f"life-{self._number}"
        self._process = Process(
            self.tether, name, self.path.kubeconfig, self.stage.own, module=HASTY
        )
        await self._process.ready()
        await self._process.leads()

    async def end(self) -> None:
        await asyncio.to_thread(self._process.kill)
        assert "Traceback" not in self._process.output, self._process.output

    def check(self) -> None:
        code = self.tether.poll(f"life-{self._number}")
        assert code is None, f"ended with {code}: {self._process.output}"

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def live(self, length: timedelta) -> None:
        await asyncio.sleep(length.total_seconds())
