"""What issuers' Secrets last had in place as planned, to tell a drift from a changed declaration.

Each digest names the UID of its Secret: of a namesake nothing is known.
"""

import hashlib
from collections.abc import Mapping

from troth.planning.steps.signing_keys import UpdateIssuer
from troth.resources.references import Ref


class Served:
    """Digests of what issuers' Secrets last had in place."""

    def __init__(self) -> None:
        self._digests: dict[Ref, tuple[str, Mapping[str, bytes]]] = {}

    def in_place(self, ref: Ref, uid: str, data: Mapping[str, bytes]) -> None:
        """Note what is there as it should be."""
        now = {name: _digest(value) for name, value in data.items()}
        self._digests[ref] = uid, {**self._known(ref, uid), **now}

    def was_changed(self, step: UpdateIssuer) -> bool:
        """Say whether a step puts back what was in place before, so that somebody changed it."""
        known = self._known(step.ref, step.uid)
        return all(known.get(name) == _digest(value) for name, value in step.data.items())

    def forget(self, ref: Ref) -> None:
        """Take in that a Secret is gone."""
        self._digests.pop(ref, None)

    def _known(self, ref: Ref, uid: str) -> Mapping[str, bytes]:
        known_uid, digests = self._digests.get(ref, ("", {}))
        return digests if known_uid == uid else {}


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
