"""Digests of what issuers' Secrets held as planned, to tell drift from a changed declaration.

Each digest includes the uid of its Secret, so it does not apply to a new Secret of that name.
"""

import hashlib
from collections.abc import Mapping

from troth.planning.steps.signing_keys import UpdateIssuer
from troth.resources.references import Ref


class IssuerDigests:
    """Digests of what was last in place in issuers' Secrets."""

    def __init__(self) -> None:
        self._digests: dict[Ref, tuple[str, Mapping[str, bytes]]] = {}

    def keep(self, ref: Ref, uid: str, data: Mapping[str, bytes]) -> None:
        """Record data that is in place as planned."""
        now = {name: _digest(value) for name, value in data.items()}
        self._digests[ref] = uid, {**self._known(ref, uid), **now}

    def was_changed(self, step: UpdateIssuer) -> bool:
        """Return whether a step restores what was in place, which means that the Secret drifted."""
        known = self._known(step.ref, step.uid)
        return all(known.get(name) == _digest(value) for name, value in step.data.items())

    def forget(self, ref: Ref) -> None:
        """Take in that a Secret no longer exists."""
        self._digests.pop(ref, None)

    def _known(self, ref: Ref, uid: str) -> Mapping[str, bytes]:
        known_uid, digests = self._digests.get(ref, ("", {}))
        return digests if known_uid == uid else {}


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
