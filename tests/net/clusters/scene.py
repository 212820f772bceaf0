"""One random cluster and its changes: a chain of worlds, each derived from the previous one."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.net.clusters.broker_changes import BrokerChanges
from tests.net.clusters.changes import Changes
from tests.net.clusters.initial import Initial


class Scene(Initial, BrokerChanges, Changes):
    """The cluster of one seed."""

    async def begin(self) -> None:
        """Declare everything, and reconcile it for a while."""
        for each in self._beginning():
            self._put(each)
        if self._draw.often():
            await self._stage.settle(1 + self._draw.below(3))
        if self._theme == "brokers":
            self._show_brokers()

    async def go_on(self) -> list[Any]:
        """Make one or two changes; return them, with the keys that each invalidates."""
        self._told = []
        self._declared.now = self._stage.now
        changes = self._changes()
        for _ in range(1 + self._draw.below(2)):
            await self._draw.pick(changes)()
        return self._told

    async def work(self) -> None:
        """Reconcile after the changes: every key, some keys, or none."""
        if self._draw.chance(0.5):
            await self._stage.settle(1 + self._draw.half())
        elif self._draw.half():
            for key in self._draw.subset(self._stage.keys(), 0.3):
                await self._stage.visit(key)

    def _changes(self) -> list[Callable[[], Awaitable[None]]]:
        always = [
            *(self._change_declared, self._change_declared, self._change_declared),
            *(self._spoil, self._delete, self._drop, self._tamper, self._tamper),
            *(self._refuse, self._wait, self._wait, self._set_clock, self._declare_namespace),
        ]
        of_theme = {
            "identities": [self._declare_domain, self._wait],
            "brokers": [
                *(self._look, self._look, self._look, self._look, self._look, self._ledger),
                *[self._change_messaging] * 5,
                self._wait_long,
            ],
            "webhooks": [self._change_keys, self._report_keys, self._wait_long, self._rotate],
            "rotations": [
                *(self._wait, self._wait, self._wait_long, self._rotate, self._rotate),
                *(self._roll_out, self._roll_out, self._change_authority),
            ],
        }
        return [*always, *of_theme[self._theme]]
