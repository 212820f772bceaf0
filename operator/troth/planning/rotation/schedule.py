"""Times at which the CredentialRotations of a resource request a new credential."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from troth.resources.rotation.spec import CredentialRotation
from troth.resources.rotation.windows import next_open


def due_at(
    rotations: Iterable[CredentialRotation], made_at: datetime, now: datetime
) -> datetime | None:
    """Return when a credential made at `made_at` is due for rotation, None if no rotation asks.

    `made_at` is a whole second, as in certificates. A time in the past means now. A request is
    satisfied by any credential made since, so one rotation answers it, however often it is read
    and even if several CredentialRotations request it.
    """
    return min(_dues(rotations, made_at, now), default=None)


def overlap_of(rotations: Iterable[CredentialRotation]) -> timedelta:
    """Return how long the old credential must stay valid beside the new one, at least."""
    return max((rotation.spec.overlap for rotation in rotations), default=timedelta(0))


def _dues(
    rotations: Iterable[CredentialRotation], made_at: datetime, now: datetime
) -> Iterator[datetime]:
    for rotation in rotations:
        spec = rotation.spec
        if spec.requested_at is not None and (asked := _whole(spec.requested_at)) > made_at:
            yield asked
        if spec.every is not None:
            begin = next_open(spec.windows, max(made_at + spec.every, now))
            if begin is not None:
                yield begin if spec.windows else made_at + spec.every


def _whole(moment: datetime) -> datetime:
    """Return a time rounded up to a whole second; a credential made then satisfies the request."""
    whole = moment.replace(microsecond=0)
    return whole if whole == moment else whole + timedelta(seconds=1)
