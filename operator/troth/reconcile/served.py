"""What was last in place as it should be, so that what a hand changed there can be told.

Each memory names the UID of the object it is about: of a namesake nothing is known.
"""

import hashlib
from collections.abc import Mapping

from troth.planning.plan import Plan, UpdateIssuer
from troth.resources.references import Ref
from troth.world.keys import Key

Digests = Mapping[tuple[str, Ref], bytes]
"""Of what was written, by its kind and place."""


class InPlace:
    """Digests of what each resource last had in place."""

    def __init__(self) -> None:
        self._digests: dict[Key, tuple[str, Digests]] = {}

    def before(self, plan: Plan) -> Digests:
        """Return what the resource of a plan had in place, nothing for a new one."""
        uid, digests = self._digests.get(plan.key, ("", {}))
        return digests if uid == plan.uid else {}

    def keep(self, plan: Plan, digests: Digests) -> None:
        """Note what the resource of a plan has in place."""
        self._digests[plan.key] = plan.uid, digests

    def forget(self, key: Key) -> None:
        """Take in that a resource is gone."""
        self._digests.pop(key, None)


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
