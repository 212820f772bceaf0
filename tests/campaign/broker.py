"""A faulty broker in memory, with hooks that judge every change.

It keeps rules in Kafka's terms. The operator may be killed between any two changes of a batch.
Calls fail before they are carried out, after it, or in the middle. Others write there too.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Literal

from troth.brokers.clients import Clients
from troth.brokers.errors import UnreachableError
from troth.brokers.protocol import Batch, Failure, Login
from troth.resources.messaging.observed_broker import Exposure
from troth.trust.grants import Observed, Place, Rule

LATENCY = 0.02
PREFIX = "troth-"

Trouble = Literal["away", "lost", "cut", "refused"]
"""Fault of a call.

away: the broker does not answer; lost, cut: it carries out all, or half, and the answer is lost;
refused: it rejects the first change.
"""


@dataclass
class ModelBroker:
    """The content of a broker, shared by all connections."""

    rules: set[Rule] = field(default_factory=set)
    credentials: dict[Place, str] = field(default_factory=dict)
    strangers: set[Rule] = field(default_factory=set)
    """Rules that others added and have not removed."""
    away: bool = False
    troubles: list[Trouble] = field(default_factory=list)
    changes: int = 0
    on_change: Callable[[str, Rule | Place], None] = lambda *_: None
    """Called before each change with its verb: add, remove, tell or revoke."""

    def change(self, what: str, change: Rule | Place, material: str = "") -> None:
        """Carry out one change of the operator's."""
        self.on_change(what, change)
        self.changes += 1
        match what, change:
            case "add", Rule():
                self.rules.add(change)
            case "remove", Rule():
                self.rules.discard(change)
            case "tell", (_, _):
                self.credentials[change] = material
            case "revoke", (_, _):
                self.credentials.pop(change, None)

    def put(self, rule: Rule) -> None:
        """Add a foreign rule."""
        if rule not in self.rules:
            self.rules.add(rule)
            self.strangers.add(rule)

    def take(self, rule: Rule) -> None:
        """Remove a rule as a foreign client."""
        self.rules.discard(rule)
        self.strangers.discard(rule)


class Adapter:
    """One connection to it, as `troth.brokers.protocol.Driver` has it."""

    def __init__(self, broker: ModelBroker) -> None:
        self._broker = broker

    async def observe(self) -> Observed:
        await self._call()
        seen = Observed(frozenset(self._broker.credentials), frozenset(self._broker.rules))
        await asyncio.sleep(LATENCY)
        return seen

    async def clients(self, groups: Collection[str]) -> Clients:  # noqa: ARG002
        await self._call()
        return Clients()

    async def exposure(self, groups: Collection[str]) -> Exposure:  # noqa: ARG002
        await self._call()
        return Exposure()

    async def apply(self, batch: Batch) -> tuple[Failure, ...]:
        trouble = await self._call()
        steps = list(_steps(batch))
        if trouble == "refused" and steps:
            what, change, _ = steps.pop(0)
            told = change[0] if what == "tell" and not isinstance(change, Rule) else ""
            kept_back = [
                each
                for each in steps
                if isinstance(each[1], Rule) and each[0] == "add" and each[1].principal == told
            ]
            failed = [change, *(each[1] for each in kept_back)]
            await self._carry_out([each for each in steps if each not in kept_back])
            return tuple(Failure(each, "the broker does not like it") for each in failed)
        await self._carry_out(steps[: len(steps) // 2] if trouble == "cut" else steps)
        if trouble in ("cut", "lost"):
            raise UnreachableError("no answer came")
        return ()

    async def disconnect(self, principals: Collection[str]) -> None:  # noqa: ARG002
        await self._call()

    async def admits(self, login: Login) -> bool:
        await self._call()
        return self._broker.credentials.get((login.principal, login.slot)) == login.secret

    async def close(self) -> None: ...

    async def _call(self) -> Trouble | None:
        await asyncio.sleep(LATENCY)
        trouble = self._broker.troubles.pop(0) if self._broker.troubles else None
        if self._broker.away or trouble == "away":
            raise UnreachableError("nobody answers")
        return trouble

    async def _carry_out(self, steps: list[tuple[str, Rule | Place, str]]) -> None:
        for step in steps:
            self._broker.change(*step)
            await asyncio.sleep(LATENCY)


def _steps(batch: Batch) -> Iterator[tuple[str, Rule | Place, str]]:
    for each in batch.credentials:
        yield "tell", (each.principal, each.slot), each.material
    for rule in batch.additions:
        yield "add", rule, ""
    for rule in batch.removals:
        yield "remove", rule, ""
    for place in batch.revocations:
        yield "revoke", place, ""
