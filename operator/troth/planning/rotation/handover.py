"""How a credential is replaced without a gap: the one way, for whatever kind of credential.

The next one is prepared beside the one in use (Preparing), reaches everybody who has to verify it
(Distributing), is put to use (Activating), takes the place of the old one wherever that is still
used (Reissuing), and only then the old one is dropped (Retiring). What a kind of credential has to
offer for that is `Credential`: evidence, read from the world each time and remembered nowhere, so
that a crash at any point is no loss; and the steps to take.

Nobody can see what a program has read. So a step that others rely on waits `settle` after the last
write it relies on, counted from when this process saw that write on its monotonic clock: a wall
clock that jumps shortens no wait, and a restart only prolongs it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from troth.planning.moment import Moment
from troth.planning.steps.step import Step
from troth.resources.trust_domain.status import RotationPhase


@dataclass(frozen=True, slots=True)
class Laggard:
    """Somebody a handover waits for: who it is in a sentence, and until when at most."""

    sentence: str
    until: datetime | None = None

    def __str__(self) -> str:
        return (
            f"{self.sentence}; Troth waits until {self.until:%Y-%m-%d %H:%M} UTC"
            if self.until
            else self.sentence
        )


@dataclass(frozen=True, slots=True)
class Handover:
    """Where a replacement stands: its phase, the step to take, what blocks it, how long to wait."""

    phase: RotationPhase
    step: Step | None = None
    blockers: tuple[str, ...] = ()
    wait: timedelta | None = None


class Credential(Protocol):
    """The evidence for one credential, and the steps that hand over to its successor."""

    @property
    def settle(self) -> timedelta:
        """How long readers may take to see a write."""

    @property
    def overlap(self) -> timedelta:
        """How long the old one stays good at least after the last has turned to the new one."""

    @property
    def prepared_since(self) -> float | None:
        """Since when the next one is there, None while there is none."""

    @property
    def replaced_since(self) -> float | None:
        """Since when the next one is in use and the old one still good, None otherwise."""

    @property
    def compromised(self) -> bool:
        """Whether the one in use is known to others: nobody is waited for, and it is not kept."""

    @property
    def old_compromised(self) -> bool:
        """Whether the one before is known to others: nobody is waited for."""

    def unpublished(self) -> Iterable[Laggard]:
        """Yield who has to verify the next one and does not have it yet."""

    def published_since(self) -> Iterable[float]:
        """Yield since when those who have it do."""

    def still_used(self) -> Iterable[Laggard]:
        """Yield who still uses the old one."""

    def disused_since(self) -> Iterable[float]:
        """Yield since when those who use the new one do."""

    def prepare(self) -> Step | None:
        """Return the step that makes the next one beside the one in use, None if it cannot be."""

    def activate(self) -> Step:
        """Return the step that puts the next one to use, and keeps the old one, unless it is
        compromised.
        """

    def retire(self) -> Step:
        """Return the step that drops the old one."""


def hand_over(credential: Credential, *, wanted: bool, moment: Moment) -> Handover:
    """Return where a handover stands and what to do about it; it begins when it is `wanted`."""
    if credential.compromised:
        if credential.prepared_since is None:
            return Handover(RotationPhase.PREPARING, credential.prepare())
        return Handover(RotationPhase.ACTIVATING, credential.activate())
    if credential.replaced_since is not None:
        return _towards_retirement(credential, credential.replaced_since, moment)
    if credential.prepared_since is not None:
        return _towards_use(credential, credential.prepared_since, moment)
    if wanted:
        return Handover(RotationPhase.PREPARING, credential.prepare())
    return Handover(RotationPhase.IDLE)


def _towards_use(credential: Credential, since: float, moment: Moment) -> Handover:
    """Every verifier must have the next one, for long enough, before it is put to use."""
    missing = [
        each for each in credential.unpublished() if each.until is None or moment.now < each.until
    ]
    if missing:
        return _held_up(RotationPhase.DISTRIBUTING, credential, missing, since, moment)
    wait = _left(moment, credential.settle, (since, *credential.published_since()))
    if wait > timedelta(0):
        return Handover(RotationPhase.DISTRIBUTING, wait=wait)
    return Handover(RotationPhase.ACTIVATING, credential.activate())


def _towards_retirement(credential: Credential, since: float, moment: Moment) -> Handover:
    """Nobody may use the old one, and nobody may have done so until lately."""
    if credential.old_compromised:
        return Handover(RotationPhase.RETIRING, credential.retire())
    using = [
        each for each in credential.still_used() if each.until is None or moment.now < each.until
    ]
    if using:
        return _held_up(RotationPhase.REISSUING, credential, using, since, moment)
    enough = max(credential.settle, credential.overlap)
    wait = _left(moment, enough, (since, *credential.disused_since()))
    if wait > timedelta(0):
        return Handover(RotationPhase.RETIRING, wait=wait)
    return Handover(RotationPhase.RETIRING, credential.retire())


def _held_up(
    phase: RotationPhase,
    credential: Credential,
    laggards: Iterable[Laggard],
    since: float,
    moment: Moment,
) -> Handover:
    """Name those who lag for longer than anybody should; until then they are only on their way."""
    on_their_way = _left(moment, credential.settle, (since,))
    if on_their_way > timedelta(0):
        return Handover(phase, wait=on_their_way)
    ends = [each.until for each in laggards if each.until]
    wait = min(ends) - moment.now if ends else None
    return Handover(phase, blockers=tuple(sorted(map(str, laggards))), wait=wait)


def _left(moment: Moment, length: timedelta, seen: Iterable[float]) -> timedelta:
    """Return how long to wait until the last of these sightings is old enough."""
    return length - timedelta(seconds=moment.uptime - max(seen, default=0.0))
