"""Notices about token signing keys, derived from the difference of two statuses.

`troth.reconcile.events.rotation` explains why statuses are compared.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from troth.reconcile.events.notice import Notice
from troth.reconcile.events.rotation import blocked
from troth.resources.trust_domain.status import AuthorityState

Status = Mapping[str, Any]


def of_token_keys(before: Status, after: Status) -> Iterator[Notice]:
    """Yield what happened to the keys that sign a trust domain's tokens."""
    if "tokenRotation" not in after:  # the spec is invalid
        return
    was, now = _by_state(before), _by_state(after)
    if not was or not now:  # the spec itself shows the first key and the end of tokens
        return
    known, listed = set(was.values()), set(now.values())
    active, old = now.get(AuthorityState.ACTIVE), was.get(AuthorityState.ACTIVE)
    prepared = now.get(AuthorityState.PREPARED)
    if prepared and prepared not in known:
        note = (
            f"the new token key {prepared} is being added to every bundle; it signs nothing before"
        )
        yield Notice("TokenKeyPrepared", note)
    if active and old and active != old:
        yield _taken_over(active, old, kept=old in listed)
    for gone in sorted(known - listed - {old}):
        note = f"the token key {gone} is no longer published"
        yield Notice("TokenKeyDropped", note)
    yield from blocked(before.get("tokenRotation") or {}, after["tokenRotation"])


def _taken_over(active: str, old: str, *, kept: bool) -> Notice:
    if kept:
        note = (
            f"{active} signs tokens from now on; {old} stays published until its last token has "
            "expired"
        )
        return Notice("TokenKeyActivated", note)
    note = (
        f"{active} signs tokens from now on; tokens of {old} are rejected, and Troth did not "
        "wait for their users"
    )
    return Notice("TokenKeyReplaced", note, "Warning")


def _by_state(status: Status) -> dict[str, str]:
    return {each["state"]: each["fingerprint"] for each in status.get("tokenKeys") or []}
