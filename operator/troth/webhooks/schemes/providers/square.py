"""Square: an HMAC of the notification URL and the body, in base64. The body has the event's ID.

https://developer.squareup.com/docs/webhooks/step3validate
"""

from collections.abc import Sequence

from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.fields.encodings import from_base64, to_base64
from troth.webhooks.schemes.fields.identifiers import body_id, claimed_in_body
from troth.webhooks.schemes.scheme import Key, Stamp, Verified, replay_of
from troth.webhooks.schemes.signatures.key_texts import secret_key
from troth.webhooks.schemes.signatures.matching import make_mac, match_mac, read_signature

_SIGNATURE = b"x-square-hmacsha256-signature"


class Square:
    """`x-square-hmacsha256-signature`.

    The URL is that of the subscription and configured here: anybody can choose a request's Host.
    """

    signs_timestamp = False

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url.encode()

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key; raises `KeyFormatError`."""
        return secret_key(key_id, text)

    def verify(
        self,
        delivery: Delivery,
        keys: Sequence[Key],
        now: float,  # noqa: ARG002 - no time is signed
        tolerance: float,  # noqa: ARG002
    ) -> Verified:
        """Return the verified facts of a delivery; raises `RefusedError`."""
        signature = read_signature(delivery, _SIGNATURE, "", from_base64)
        match = match_mac(keys, self._url + delivery.body, (signature,))
        event = body_id(delivery.body, "event_id")
        replay = replay_of(b"mac", match.mac) if event is None else replay_of(b"id", event.encode())
        return Verified(match.key_id, replay, event)

    def claimed_id(self, delivery: Delivery) -> str | None:
        """Return the ID that an unverified delivery claims."""
        return claimed_in_body(delivery.body, "event_id")

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:  # noqa: ARG002
        """Return the delivery with its signature. The ID is that of the body, not of the stamp."""
        signature = to_base64(make_mac(key, self._url + delivery.body))
        return delivery.with_headers(((_SIGNATURE.decode(), signature),))
