"""A path to the API server that counts writes and crashes the operator after one of them.

Writes pass one at a time, so that "after write k" is one state of the cluster. Whether the operator
receives the answer to its last write makes no difference, because its memory is lost. So after a
crash no request or answer passes. An operator that survives without the answer is a separate case.
"""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from aiohttp import web

from sandbox.faults import Call, FaultyPath
from sandbox.faults.path import drop

NOT_COUNTED = {"leases", "events"}
"""Leases hold no declared state, and Events may be lost."""


class Effect(StrEnum):
    """Effect on the operator after one of its writes."""

    KILLED = "killed after"
    UNANSWERED = "never answered to"


@dataclass(frozen=True)
class CrashPoint:
    """Number of the write, counted from 1, after which the effect occurs; 0 for none."""

    write: int = 0
    effect: Effect = Effect.KILLED
    relentless: bool = False
    """Whether the effect also follows every later write, except of a status.

    Operators could otherwise revert each other's status for ever.
    """

    def comes_with(self, number: int, write: Call) -> bool:
        """Return whether the effect follows a write."""
        if self.relentless:
            return 0 < self.write <= number and not write.path.endswith("/status")
        return number == self.write


@dataclass
class CrashingPath(FaultyPath):
    """The path. `written` has the writes since `set_crash_point`."""

    written: list[Call] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while nothing passes."""
    crashes: int = 0
    """Number of crashes since `set_crash_point`."""
    _point: CrashPoint = CrashPoint()
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def set_crash_point(self, point: CrashPoint) -> None:
        """Set the effect, and start to count writes."""
        self.written.clear()
        self._point, self.crashes = point, 0

    def revive(self) -> None:
        """Let requests of the next operator pass again."""
        self.over.clear()

    @property
    def quiet_since(self) -> float:
        """Time of the last request, except for leases."""
        return next((call.at for call in reversed(self.asked) if call.resource != "leases"), 0.0)

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Forward a request, unless the operator has crashed."""
        call = Call.of(request)
        if self.over.is_set():
            return _unanswered(request)
        if not call.writes or call.resource in NOT_COUNTED:
            return await super().forward(request)
        async with self._turn:
            if self.over.is_set():
                return _unanswered(request)
            answer = await super().forward(request)
            if answer.status >= web.HTTPBadRequest.status_code:
                return answer
            self.written.append(call)
            if not self._point.comes_with(len(self.written), call):
                return answer
            return await self._strike(request, call, answer)

    async def _strike(
        self, request: web.Request, call: Call, answer: web.StreamResponse
    ) -> web.StreamResponse:
        """Carry out the effect of the crash point; return what the operator gets as an answer."""
        del call, answer
        self.crashes += 1
        if self._point.effect is Effect.KILLED:
            self.over.set()
        return _unanswered(request)


def _unanswered(request: web.Request) -> web.StreamResponse:
    drop(request)
    return web.Response()
