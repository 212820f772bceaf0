"""Protocol of a signature scheme: parse keys, verify and sign, without I/O and without a clock.

`key` parses a key once and pins it to its algorithm. The algorithm that a delivery names can only
select among the keys, never change how one is used. `verify` works on the bytes as received, in
constant time, before anything of the body is parsed. Whatever the delivery contains, it raises
nothing but `RefusedError`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from troth.webhooks.schemes.delivery import Delivery

MOST_SIGNATURES = 16
"""Maximum number of signatures in one header; a delivery with more is rejected."""


LONGEST_KEY = 16 * 1024
"""Maximum size of a key in a Secret, in bytes."""


class KeyFormatError(ValueError):
    """Key that the scheme cannot use. The message says what to write, and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Key:
    """Key of an endpoint. `material` is never in the `repr`.

    `algorithm` is the only one for which the key is used: `hmac-sha256`, `hmac-sha1`, `ed25519`,
    `token`, …. `material` is what the scheme parsed from the text.
    """

    id: str
    algorithm: str
    material: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verified:
    """Facts of a verified delivery.

    `delivery_id` is for the log and may be unsigned. `replay` is equal for all repetitions of a
    delivery and differs between any two deliveries; it is signed, or a MAC. `timestamp` is the
    signed time in seconds since the epoch, None if no time is signed. If there is an `answer`
    (JSON), the gateway answers with it and forwards nothing.
    """

    key_id: str
    replay: bytes = field(repr=False)
    delivery_id: str | None = None
    timestamp: int | None = None
    answer: bytes | None = field(default=None, repr=False)
    signed: bool = True
    """False if only a secret token was compared, so that anything else may be forged."""


@dataclass(frozen=True, slots=True)
class Stamp:
    """Time (seconds since the epoch) and ID that a sender adds to a delivery."""

    now: int
    delivery_id: str


class Scheme(Protocol):
    """Signature scheme with the parameters of one endpoint."""

    @property
    def signs_timestamp(self) -> bool:
        """Whether a time is signed, so that an old delivery is rejected."""

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key in a Secret's text; raises `KeyFormatError`.

        Surrounding white space is ignored, because editors add a line break at the end.
        """

    def verify(
        self, delivery: Delivery, keys: Sequence[Key], now: float, tolerance: float
    ) -> Verified:
        """Return the facts of a delivery that any of the keys verifies; raises `RefusedError`.

        `now` is in seconds since the epoch. `tolerance` is in seconds, in both directions.
        """

    def claimed_id(self, delivery: Delivery) -> str | None:
        """Return the ID that an unverified delivery claims, for the log; None without one.

        It is any text that the sender wrote. Finding it must cost little.
        """

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery as the sender would send it, signed with a key."""


def replay_of(*parts: bytes) -> bytes:
    """Return a digest of 32 bytes that identifies this sequence of parts."""
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()
