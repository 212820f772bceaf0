"""A path to the API server that counts writes, and on which one of them is an operator's last.

Writes pass one at a time, so that "after write k" is one state of the cluster. When an operator is
killed there is no telling whether it has heard the answer to its last write: what it would know of
it dies with it. So a kill lets nothing more through, neither answers nor requests; and what is told
apart is an operator that has not heard the answer and lives on.
"""

import asyncio
from dataclasses import dataclass, field
from enum import StrEnum

from aiohttp import web

from sandbox.faults import Call, FaultyPath
from sandbox.faults.path import drop

NOT_COUNTED = {"leases", "events"}
"""A lease says nothing of what is declared; Events are for people, and may be lost."""


class Fate(StrEnum):
    """What befalls an operator once a write of its own was carried out."""

    KILLED = "killed after"
    UNHEARD = "never answered to"


@dataclass(frozen=True)
class Doom:
    """At which write, counted from 1, what befalls the operator; with 0 at none."""

    write: int = 0
    fate: Fate = Fate.KILLED
    relentless: bool = False
    """Whether it befalls it, or the next, at every write from then on that is not of a status: what
    a restart takes back of one, the next might write again, and so on for ever.
    """

    def comes_with(self, number: int, write: Call) -> bool:
        """Whether it comes with a write."""
        if self.relentless:
            return 0 < self.write <= number and not write.path.endswith("/status")
        return number == self.write


@dataclass
class FatefulPath(FaultyPath):
    """The path. `written` is what was carried out since `await_doom`."""

    written: list[Call] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    """Set while nothing passes."""
    met: int = 0
    """How often the operator has met its fate since `await_doom`."""
    _doom: Doom = Doom()
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    def await_doom(self, doom: Doom) -> None:
        """Begin to count."""
        self.written.clear()
        self._doom, self.met = doom, 0

    def revive(self) -> None:
        """Let everything pass again, for an operator that begins anew."""
        self.over.clear()

    @property
    def quiet_since(self) -> float:
        """When something was asked last, the lease apart."""
        return next((call.at for call in reversed(self.asked) if call.resource != "leases"), 0.0)

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, unless the operator is dead."""
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
            if not self._doom.comes_with(len(self.written), call):
                return answer
            self.met += 1
            if self._doom.fate is Fate.KILLED:
                self.over.set()
            return _unanswered(request)


def _unanswered(request: web.Request) -> web.StreamResponse:
    drop(request)
    return web.Response()
