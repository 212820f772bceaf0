"""Paddle: an HMAC of time and body, in hexadecimal. The body has the event's id.

https://developer.paddle.com/webhooks/signature-verification
"""

from collections.abc import Sequence

from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.encodings import to_hex
from troth.webhooks.schemes.identifiers import body_id
from troth.webhooks.schemes.key_texts import secret_key
from troth.webhooks.schemes.matching import make_mac, match_mac
from troth.webhooks.schemes.scheme import Key, Stamp, Verified, replay_of
from troth.webhooks.schemes.timed_header import TimedHeader
from troth.webhooks.schemes.timestamps import fresh

_HEADER = TimedHeader(b"paddle-signature", separator=";", time="ts", signature="h1")


class Paddle:
    """`Paddle-Signature: ts=…;h1=…`, with a second h1 while a secret is rotated."""

    signs_timestamp = True

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key, which is the text itself; raises `KeyFormatError`."""
        return secret_key(key_id, text)

    def verify(
        self, delivery: Delivery, keys: Sequence[Key], now: float, tolerance: float
    ) -> Verified:
        """Return what is verified; raises `RefusedError`."""
        time, signatures = _HEADER.read(delivery)
        timestamp = fresh(time, now, tolerance)
        signed = _signed(time, delivery.body)
        match = match_mac(keys, signed, signatures)
        event = body_id(delivery.body, "event_id")
        # Not the MAC: while a secret is rotated there are two, and either can be taken off.
        replay = replay_of(b"signed", signed) if event is None else replay_of(b"id", event.encode())
        return Verified(match.key_id, replay, event, timestamp)

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery, signed. Its id is in the body, whatever the stamp has."""
        time = str(stamp.now)
        signature = to_hex(make_mac(key, _signed(time, delivery.body)))
        return delivery.with_headers((_HEADER.written(time, signature),))


def _signed(time: str, body: bytes) -> bytes:
    return b"%b:%b" % (time.encode(), body)
