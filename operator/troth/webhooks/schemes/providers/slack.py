"""Slack: an HMAC of version, time and body, in hexadecimal. The gateway answers its URL check
itself.

https://docs.slack.dev/authentication/verifying-requests-from-slack/,
https://docs.slack.dev/reference/events/url_verification/
"""

import json
from collections.abc import Sequence

from pydantic_core import from_json

from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.fields.encodings import from_hex, to_hex
from troth.webhooks.schemes.fields.identifiers import claimed_in_body, is_identifier
from troth.webhooks.schemes.fields.timestamps import fresh
from troth.webhooks.schemes.scheme import Key, Stamp, Verified, replay_of
from troth.webhooks.schemes.signatures.key_texts import secret_key
from troth.webhooks.schemes.signatures.matching import Match, make_mac, match_mac, read_signature

_SIGNATURE = b"x-slack-signature"
_TIMESTAMP = b"x-slack-request-timestamp"
_PREFIX = "v0="


class Slack:
    """`X-Slack-Signature: v0=…` and `X-Slack-Request-Timestamp`.

    The body of an event has an ID, which its retries share. Each retry has its own time and
    signature. A command has no ID.
    """

    signs_timestamp = True

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key; raises `KeyFormatError`."""
        return secret_key(key_id, text)

    def verify(
        self, delivery: Delivery, keys: Sequence[Key], now: float, tolerance: float
    ) -> Verified:
        """Return the verified facts of a delivery; raises `RefusedError`."""
        signature = read_signature(delivery, _SIGNATURE, _PREFIX, from_hex)
        text = delivery.header(_TIMESTAMP)
        timestamp = fresh(text, now, tolerance)
        match = match_mac(keys, _signed(text, delivery.body), (signature,))
        return _verified(match, timestamp, delivery.body)

    def claimed_id(self, delivery: Delivery) -> str | None:
        """Return the ID that an unverified delivery claims."""
        return claimed_in_body(delivery.body, "event_id")

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery with its signature. The ID is that of the body, not of the stamp."""
        text = str(stamp.now)
        signature = _PREFIX + to_hex(make_mac(key, _signed(text, delivery.body)))
        return delivery.with_headers(
            ((_TIMESTAMP.decode(), text), (_SIGNATURE.decode(), signature))
        )


def _signed(timestamp: str, body: bytes) -> bytes:
    return b"v0:%b:%b" % (timestamp.encode(), body)


def _verified(match: Match, timestamp: int, body: bytes) -> Verified:
    try:
        document = from_json(body)
    except ValueError:  # the body of a command is a form
        document = None
    said = document if isinstance(document, dict) else {}
    event, challenge = said.get("event_id"), said.get("challenge")
    asked = said.get("type") == "url_verification" and is_identifier(challenge)
    return Verified(
        match.key_id,
        replay_of(b"mac", match.mac),
        event if is_identifier(event) else None,
        timestamp,
        json.dumps({"challenge": challenge}).encode() if asked else None,
    )
