"""What a signature scheme is: one protocol to sign and to verify, pure and without a clock.

A scheme parses a key once (`key`), and pins to it the algorithm that the key is for: what a
delivery says of its algorithm chooses among the keys and never how one is used. It verifies over
the bytes as they came, in constant time, before anything of the body is parsed, and raises
`RefusedError`; nothing else comes out of it whatever comes in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Protocol

from troth.webhooks.schemes.delivery import Delivery

MOST_SIGNATURES = 16
"""Signatures in one header that are looked at; a delivery with more is refused."""


LONGEST_KEY = 16 * 1024
"""Maximum size of a key in bytes, as a Secret has it."""


class KeyFormatError(ValueError):
    """A key that the scheme cannot use. The sentence says what to write, and quotes nothing."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an endpoint. `material` never shows in a `repr`.

    `algorithm` is what the key is for and nothing else: `hmac-sha256`, `hmac-sha1`, `ed25519`,
    `token`, …; `material` is what the scheme made of the text.
    """

    id: str
    algorithm: str
    material: object = field(repr=False)


@dataclass(frozen=True, slots=True)
class Verified:
    """What is known of a delivery once it is verified.

    `delivery_id` is for the log, and may be unsigned; `replay` is what a repetition of it has in
    common with it, signed or a MAC, and differs between any two that the sender meant. `timestamp`
    is the signed one, in seconds since the epoch, None where none is signed. An `answer` (JSON) is
    what the sender wants to hear at once: nothing is delivered then.
    """

    key_id: str
    replay: bytes = field(repr=False)
    delivery_id: str | None = None
    timestamp: int | None = None
    answer: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a sender adds to a delivery: when (seconds since the epoch), and its id."""

    now: int
    delivery_id: str


class Scheme(Protocol):
    """One signature scheme, with the parameters of one endpoint."""

    @property
    def signs_timestamp(self) -> bool:
        """Whether a time is part of what is signed, so that an old delivery is refused as old."""

    def key(self, key_id: str, text: bytes) -> Key:
        """Return a key as a Secret has it, or raise `KeyFormatError`.

        Surrounding white space is no part of it, for an editor leaves a line break at the end.
        """

    def verify(
        self, delivery: Delivery, keys: Sequence[Key], now: float, tolerance: float
    ) -> Verified:
        """Return what is verified, by whichever key; raises `RefusedError`.

        `now` is in seconds since the epoch; `tolerance` in seconds, to both sides.
        """

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery as the sender would send it, signed with a key."""


def replay_of(*parts: bytes) -> bytes:
    """Return 32 bytes that stand for these parts, each by itself."""
    digest = sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8))
        digest.update(part)
    return digest.digest()
