"""Handover: the replacement of a credential without a gap, for every kind of credential.

| phase | what happens |
| --- | --- |
| Preparing | the next credential is created beside the active one |
| Distributing | the next one reaches every verifier |
| Activating | the next one becomes active |
| Reissuing | the active one replaces the old one everywhere |
| Retiring | the old one is dropped, as soon as it is not used any more |

Each kind of credential implements `Credential`: evidence and steps. The evidence is read from the
world each time and stored nowhere, so a crash at any point loses nothing.

Troth cannot see what a program has read. So a step waits for the propagation delay (`settle`) after
the last write that it relies on. The wait counts from the time at which this process observed that
write, on its monotonic clock. A jump of the wall clock shortens no wait, and a restart only
prolongs it.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from troth.planning.moment import Moment
from troth.planning.steps.step import Step
from troth.resources.trust_domain.status import RotationPhase


@dataclass(frozen=True, slots=True)
class Blocker:
    """Something that a handover waits for: a sentence that names it, and a time limit if any."""

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
    """State of a replacement: its phase, its next step, its blockers, and the time to wait."""

    phase: RotationPhase
    step: Step | None = None
    blockers: tuple[str, ...] = ()
    wait: timedelta | None = None


class Credential(Protocol):
    """Evidence for one credential, and the steps that hand over to the next one.

    Times are in seconds on the process's monotonic clock (uptime).
    """

    @property
    def settle(self) -> timedelta:
        """Propagation delay: the time until readers have seen a write."""

    @property
    def overlap(self) -> timedelta:
        """How long the old one stays valid after the last user changed to the new one, at least."""

    @property
    def prepared_since(self) -> float | None:
        """When the next one was first observed, None while there is none."""

    @property
    def replaced_since(self) -> float | None:
        """When the active one was first observed, None if there is no old one to retire."""

    @property
    def compromised(self) -> bool:
        """Whether the active one is compromised: it is replaced without a wait, and not kept."""

    @property
    def old_compromised(self) -> bool:
        """Whether the old one is compromised: it is retired without a wait."""

    def unpublished(self) -> Iterable[Blocker]:
        """Yield the verifiers that do not have the next one yet."""

    def published_since(self) -> Iterable[float]:
        """Yield since when each verifier that has the next one has it."""

    def still_used(self) -> Iterable[Blocker]:
        """Yield the users of the old one."""

    def disused_since(self) -> Iterable[float]:
        """Yield since when each user of the new one uses it."""

    def prepare(self) -> Step | None:
        """Return the step that creates the next one beside the active one, None if impossible."""

    def activate(self) -> Step:
        """Return the step that activates the next one.

        It keeps the old one, unless that is compromised.
        """

    def retire(self) -> Step:
        """Return the step that drops the old one."""


def hand_over(credential: Credential, *, wanted: bool, moment: Moment) -> Handover:
    """Return the state of a handover, with its next step; it begins if it is `wanted`."""
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
    """Activate the next one after every verifier has had it for the propagation delay."""
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
    """Retire the old one once it was unused for the longer of overlap and propagation delay."""
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
    laggards: Iterable[Blocker],
    since: float,
    moment: Moment,
) -> Handover:
    """Report laggards as blockers, but only once the propagation delay has passed."""
    on_their_way = _left(moment, credential.settle, (since,))
    if on_their_way > timedelta(0):
        return Handover(phase, wait=on_their_way)
    ends = [each.until for each in laggards if each.until]
    wait = min(ends) - moment.now if ends else None
    return Handover(phase, blockers=tuple(sorted(map(str, laggards))), wait=wait)


def _left(moment: Moment, length: timedelta, seen: Iterable[float]) -> timedelta:
    """Return the time until the last of these observations is older than `length`."""
    return length - timedelta(seconds=moment.uptime - max(seen, default=0.0))
