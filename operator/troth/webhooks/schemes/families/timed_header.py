"""Schemes with a header that has a time and signatures, `t=…,v1=…,v1=…`: Stripe and Paddle.

The signatures are HMACs of the time and the body, and the body has the event's ID.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.fields.encodings import from_hex, to_hex
from troth.webhooks.schemes.fields.identifiers import body_id, claimed_in_body
from troth.webhooks.schemes.fields.timestamps import fresh
from troth.webhooks.schemes.scheme import MOST_SIGNATURES, Key, Stamp, Verified, replay_of
from troth.webhooks.schemes.signatures.key_texts import secret_key
from troth.webhooks.schemes.signatures.matching import decode_signature, make_mac, match_mac


@dataclass(frozen=True, slots=True)
class TimedHeader:
    """Format of such a header: its name, the separator, and the names of its members."""

    name: bytes
    separator: str
    time: str
    signature: str

    def read(self, delivery: Delivery) -> tuple[str, tuple[bytes, ...]]:
        """Return the text of the time and the signatures; raises `RefusedError`.

        The time must occur exactly once. Other members are ignored but counted: besides the time a
        header has at most `MOST_SIGNATURES`.
        """
        text = delivery.header(self.name, Reason.SIGNATURE_MISSING)
        members = text.split(self.separator, MOST_SIGNATURES + 1) if text else []
        if len(members) > MOST_SIGNATURES + 1:
            raise RefusedError(
                Reason.TOO_MANY_SIGNATURES, f"more than {MOST_SIGNATURES} signatures"
            )
        pairs = [member.partition("=") for member in members]
        if not all(name and equals for name, equals, _ in pairs):
            raise RefusedError(
                Reason.SIGNATURE_MALFORMED,
                f"the header {self.name.decode()} is not a list of name=value pairs",
            )
        times = [value for name, _, value in pairs if name == self.time]
        signatures = tuple(
            decode_signature(value, from_hex) for name, _, value in pairs if name == self.signature
        )
        if not signatures:
            raise RefusedError(
                Reason.SIGNATURE_MISSING, f"the signature {self.signature}= is missing"
            )
        if len(times) != 1:
            raise RefusedError(
                Reason.TIMESTAMP_MALFORMED, f"there is not exactly one timestamp {self.time}="
            )
        return times[0], signatures

    def written(self, time: str, signature: str) -> tuple[str, str]:
        """Return the header with one signature."""
        value = f"{self.time}={time}{self.separator}{self.signature}={signature}"
        return self.name.decode(), value


class TimedHMAC:
    """Base of Stripe and Paddle."""

    signs_timestamp = True

    header: ClassVar[TimedHeader]
    joint: ClassVar[bytes]
    """Bytes between the time and the body in the signed text."""
    event: ClassVar[str]
    """Member of the body with the event's ID."""

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key, whose bytes are the text; raises `KeyFormatError`."""
        return secret_key(key_id, text)

    def verify(
        self, delivery: Delivery, keys: Sequence[Key], now: float, tolerance: float
    ) -> Verified:
        """Return the verified facts of a delivery; raises `RefusedError`."""
        time, signatures = self.header.read(delivery)
        timestamp = fresh(time, now, tolerance)
        signed = self._signed(time, delivery.body)
        match = match_mac(keys, signed, signatures)
        event = body_id(delivery.body, self.event)
        # Not by MAC: while a secret is rotated there are two, and an attacker can remove either.
        replay = replay_of(b"signed", signed) if event is None else replay_of(b"id", event.encode())
        return Verified(match.key_id, replay, event, timestamp)

    def claimed_id(self, delivery: Delivery) -> str | None:
        """Return the ID that an unverified delivery claims."""
        return claimed_in_body(delivery.body, self.event)

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery with its signature. The ID is that of the body, not of the stamp."""
        time = str(stamp.now)
        signature = to_hex(make_mac(key, self._signed(time, delivery.body)))
        return delivery.with_headers((self.header.written(time, signature),))

    def _signed(self, time: str, body: bytes) -> bytes:
        return b"%b%b%b" % (time.encode(), self.joint, body)
