"""What issuers are known to work from, so that what a hand changed there can be told."""

import hashlib
from collections.abc import Mapping

from troth.planning.plan import UpdateIssuer
from troth.resources.references import Ref


class Served:
    """Digests of what was last in place in issuers' Secrets, as it should be."""

    def __init__(self) -> None:
        self._digests: dict[tuple[Ref, str], bytes] = {}

    def in_place(self, ref: Ref, data: Mapping[str, bytes]) -> None:
        """Note what is there as it should be."""
        self._digests |= {(ref, name): _digest(value) for name, value in data.items()}

    def was_changed(self, step: UpdateIssuer) -> bool:
        """Say whether a step puts back what was in place before, so that somebody changed it."""
        return all(
            self._digests.get((step.ref, name)) == _digest(value)
            for name, value in step.data.items()
        )


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()
