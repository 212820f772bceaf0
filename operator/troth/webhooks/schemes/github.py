"""GitHub: an HMAC of the body, in hexadecimal. Neither the delivery's id nor a time is signed.

https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
"""

from collections.abc import Sequence

from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.encodings import from_hex, to_hex
from troth.webhooks.schemes.identifiers import logged_id
from troth.webhooks.schemes.key_texts import secret_key
from troth.webhooks.schemes.matching import make_mac, match_mac, read_signature
from troth.webhooks.schemes.scheme import Key, Stamp, Verified, replay_of

_PREFIX = "sha256="


class GitHub:
    """`X-Hub-Signature-256: sha256=…`. The older header with SHA-1 is not looked at."""

    signs_timestamp = False

    _header = b"x-hub-signature-256"
    _ids: tuple[bytes, ...] = (b"x-github-delivery",)

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
        signature = read_signature(delivery, self._header, _PREFIX, from_hex)
        match = match_mac(keys, delivery.body, (signature,))
        return Verified(match.key_id, replay_of(b"mac", match.mac), logged_id(delivery, *self._ids))

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery, signed."""
        return delivery.with_headers(
            (
                (self._header.decode(), _PREFIX + to_hex(make_mac(key, delivery.body))),
                (self._ids[0].decode(), stamp.delivery_id),
            )
        )
