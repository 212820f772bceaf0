"""Notices about rotations, derived from the difference of two statuses.

A rotation may pass several phases within one reconcile, and a crash may separate a step from its
status. The notices therefore compare the authorities that the two statuses list, instead of using
only the steps or the two phases.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from troth.reconcile.events.notice import Notice
from troth.resources.conditions import Truth
from troth.resources.rotation.blockers import MOST_BLOCKERS
from troth.resources.rotation.spec import CredentialPhase
from troth.resources.trust_domain.status import AuthorityState, RotationPhase

Status = Mapping[str, Any]


def of_trust_domain(before: Status, after: Status) -> Iterator[Notice]:
    """Yield what happened to a trust domain's authorities, and what blocks the rotation."""
    if "rotation" not in after:  # the spec is invalid
        return
    was, now = _Authorities.of(before), _Authorities.of(after)
    yield from _beginning(was, now)
    yield from _taking_over(was, now)
    yield from _ending(was, now)
    yield from blocked(before.get("rotation") or {}, after["rotation"])


def of_credential_rotation(before: Status, after: Status) -> Iterator[Notice]:
    """Yield the phase that a rotation has reached, and what blocks the rotation."""
    if "phase" not in after:
        return
    phase, last = after["phase"], before.get("phase", CredentialPhase.IDLE)
    made, known = after.get("lastRotated"), before.get("lastRotated")
    renewed = known is not None and made != known
    overlaps = phase != CredentialPhase.OVERLAPPING or known is None  # else after a renewal
    if renewed or (phase != last and overlaps):
        yield _arrived(phase, last, made if renewed else None)
    yield from blocked(before, after)


@dataclass(frozen=True, slots=True)
class _Authorities:
    """The authorities that a status lists, by state, and its rotation phase."""

    phase: str
    listed: Mapping[str, str]
    """Expiry of each authority, by fingerprint."""
    active: str | None
    prepared: str | None
    retiring: str | None
    usable: bool
    """Whether the active authority can be used. If not, the list may be outdated."""

    @classmethod
    def of(cls, status: Status) -> "_Authorities":
        listed = status.get("authorities") or []
        by_state = {each["state"]: each["fingerprint"] for each in listed}
        return cls(
            phase=(status.get("rotation") or {}).get("phase", RotationPhase.IDLE),
            listed={each["fingerprint"]: each["notAfter"] for each in listed},
            active=by_state.get(AuthorityState.ACTIVE),
            prepared=by_state.get(AuthorityState.PREPARED),
            retiring=by_state.get(AuthorityState.RETIRING),
            usable=any(
                each["type"] == "AuthorityReady" and each["status"] == Truth.TRUE
                for each in status.get("conditions") or []
            ),
        )


def _beginning(was: _Authorities, now: _Authorities) -> Iterator[Notice]:
    """Yield notices about a new authority, and about one that is being distributed."""
    new = now.prepared or now.active
    if was.active and new and new not in was.listed:
        note = (
            f"the new authority {new} is available beside {was.active}; it expires "
            f"{now.listed[new]}"
        )
        yield Notice("RotationPreparing", note)
    elif now.phase == RotationPhase.PREPARING != was.phase:
        yield Notice("RotationPreparing", f"another authority is about to replace {now.active}")
    begins = now.prepared not in was.listed or was.phase != RotationPhase.DISTRIBUTING
    if now.phase == RotationPhase.DISTRIBUTING and begins:
        note = (
            f"the new authority {now.prepared} is being added to every bundle; it signs nothing "
            "until every verifier has it"
        )
        yield Notice("RotationDistributing", note)


def _taking_over(was: _Authorities, now: _Authorities) -> Iterator[Notice]:
    """Yield notices about an authority that has started to sign, and about its predecessor."""
    old = was.active
    if old and now.active != old:
        if old in now.listed:
            note = f"{now.active} signs from now on; {old} is still trusted"
            yield Notice("RotationActivating", note)
        else:
            note = f"{now.active} signs from now on; {_without_waiting(old)}"
            yield Notice("RotationActivating", note, "Warning")
    begins = now.retiring not in (None, was.retiring) or was.phase != RotationPhase.REISSUING
    if now.phase == RotationPhase.REISSUING and now.retiring and begins:
        note = f"the certificates of {now.retiring} are being reissued, one after the other"
        yield Notice("RotationReissuing", note)


def _ending(was: _Authorities, now: _Authorities) -> Iterator[Notice]:
    """Yield notices about an authority that is retired, or about to be."""
    if now.phase == RotationPhase.RETIRING != was.phase:
        note = f"no certificate of {now.retiring} is in use any more; it is about to be retired"
        yield Notice("RotationRetiring", note)
    if was.retiring and was.retiring not in now.listed:
        if now.phase == RotationPhase.REISSUING and not now.retiring:
            yield Notice("RotationRetiring", _without_waiting(was.retiring), "Warning")
        else:
            note = f"{was.retiring} is retired; {now.active} has replaced it everywhere"
            yield Notice("RotationCompleted", note)
    elif (was.phase, now.phase) == (RotationPhase.REISSUING, RotationPhase.IDLE) and now.usable:
        note = f"every identity has a certificate of {now.active}"
        yield Notice("RotationCompleted", note)
    if was.prepared and was.prepared not in now.listed:
        note = (
            f"{was.prepared} was removed before it signed anything, because it is no longer wanted"
        )
        yield Notice("RotationAbandoned", note, "Warning")


def _without_waiting(authority: str) -> str:
    return (
        f"{authority} is revoked, and Troth did not wait for its users: its "
        "certificates are rejected until they are reissued"
    )


def _arrived(phase: str, last: str, made: str | None) -> Notice:
    match phase, last:
        case CredentialPhase.PREPARED, _:
            note = "the next credential is created and is being distributed to its verifiers"
            return Notice("RotationPrepared", note)
        case CredentialPhase.OVERLAPPING, _:
            which = f"the new credential, created {made}," if made else "the new credential"
            return Notice("RotationOverlapping", f"{which} is in use; the old one is still valid")
        case CredentialPhase.RETIRING, _:
            note = "the old credential is no longer in use; it is about to be removed"
            return Notice("RotationRetiring", note)
        case _ if made:
            note = f"the credential created {made} has replaced the previous one"
            return Notice("RotationCompleted", note)
        case _, CredentialPhase.PREPARED:
            note = "the next credential was removed before it was used"
            return Notice("RotationAbandoned", note, "Warning")
        case _, CredentialPhase.OVERLAPPING:
            return Notice("RotationCompleted", "the new credential is in use everywhere")
        case _:
            return Notice("RotationCompleted", "the old credential is removed")


def blocked(before: Status, after: Status) -> Iterator[Notice]:
    """Yield a notice if something new blocks a rotation.

    A status lists only the first blockers. If the previous list was full, a blocker that sorts
    after its last entry may be an old one, and yields no notice.
    """
    named = after.get("blockers") or []
    known = before.get("blockers") or [] if before.get("phase") == after.get("phase") else []
    full = len(known) == MOST_BLOCKERS
    fresh = [each for each in named if each not in known and not (full and each > max(known))]
    if fresh:
        more = "; see blockers in the status for the others" if len(named) > 1 else ""
        yield Notice("RotationBlocked", f"{fresh[0]}{more}", "Warning")
