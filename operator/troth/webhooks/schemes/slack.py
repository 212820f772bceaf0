"""Slack: an HMAC of version, time and body, in hexadecimal.

https://docs.slack.dev/authentication/verifying-requests-from-slack/
"""

from collections.abc import Sequence

from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.encodings import from_hex, to_hex
from troth.webhooks.schemes.key_texts import secret_key
from troth.webhooks.schemes.matching import make_mac, match_mac, read_signature
from troth.webhooks.schemes.scheme import Key, Stamp, Verified, replay_of
from troth.webhooks.schemes.timestamps import fresh

_SIGNATURE = b"x-slack-signature"
_TIMESTAMP = b"x-slack-request-timestamp"
_PREFIX = "v0="


class Slack:
    """`X-Slack-Signature: v0=…` and `X-Slack-Request-Timestamp`. No id is of a delivery."""

    signs_timestamp = True

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key; raises `KeyFormatError`."""
        return secret_key(key_id, text)

    def verify(
        self, delivery: Delivery, keys: Sequence[Key], now: float, tolerance: float
    ) -> Verified:
        """Return what is verified; raises `RefusedError`."""
        signature = read_signature(delivery, _SIGNATURE, _PREFIX, from_hex)
        text = delivery.header(_TIMESTAMP)
        timestamp = fresh(text, now, tolerance)
        match = match_mac(keys, _signed(text, delivery.body), (signature,))
        return Verified(match.key_id, replay_of(b"mac", match.mac), timestamp=timestamp)

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery, signed. Nothing has its id."""
        text = str(stamp.now)
        signature = _PREFIX + to_hex(make_mac(key, _signed(text, delivery.body)))
        return delivery.with_headers(
            ((_TIMESTAMP.decode(), text), (_SIGNATURE.decode(), signature))
        )


def _signed(timestamp: str, body: bytes) -> bytes:
    return b"v0:%b:%b" % (timestamp.encode(), body)
