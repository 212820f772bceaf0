"""Shopify: an HMAC of the body, in base64. Neither the delivery's id nor a time is signed.

https://shopify.dev/docs/apps/build/webhooks/subscribe/https
"""

from collections.abc import Sequence

from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.encodings import from_base64, to_base64
from troth.webhooks.schemes.identifiers import logged_id
from troth.webhooks.schemes.key_texts import secret_key
from troth.webhooks.schemes.matching import make_mac, match_mac, read_signature
from troth.webhooks.schemes.scheme import Key, Stamp, Verified, replay_of

_SIGNATURE = b"x-shopify-hmac-sha256"
_ID = b"x-shopify-webhook-id"


class Shopify:
    """`X-Shopify-Hmac-Sha256`, made with the client secret of the app."""

    signs_timestamp = False

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
        """Return what is verified; raises `RefusedError`."""
        signature = read_signature(delivery, _SIGNATURE, "", from_base64)
        match = match_mac(keys, delivery.body, (signature,))
        return Verified(match.key_id, replay_of(b"mac", match.mac), logged_id(delivery, _ID))

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery, signed."""
        return delivery.with_headers(
            (
                (_SIGNATURE.decode(), to_base64(make_mac(key, delivery.body))),
                (_ID.decode(), stamp.delivery_id),
            )
        )
