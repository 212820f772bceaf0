"""When the declared rotations of a resource ask for a new credential."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta

from troth.resources.rotation.spec import CredentialRotation
from troth.resources.rotation.windows import next_open


def due_at(
    rotations: Iterable[CredentialRotation], made_at: datetime, now: datetime
) -> datetime | None:
    """Return when a credential made at `made_at`, a whole second as certificates have it, is to be
    replaced, None if nobody asks for it.

    A moment that has passed, or is now, means now. One request is answered by one rotation,
    whoever asked, and as often as it is read: what counts is when the credential was made.
    """
    return min(_dues(rotations, made_at, now), default=None)


def overlap_of(rotations: Iterable[CredentialRotation]) -> timedelta:
    """Return how long the old credential must stay good beside the new one at least."""
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
    """Return the first whole second that is not before a moment: what is made then answers it."""
    whole = moment.replace(microsecond=0)
    return whole if whole == moment else whole + timedelta(seconds=1)
