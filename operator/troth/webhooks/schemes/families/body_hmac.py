"""Schemes with a header that has only an HMAC of the body: GitHub, Bitbucket, Jira and Shopify.

They sign neither a time nor an ID. A repeated delivery is recognized by its MAC, and its ID is only
logged.
"""

from collections.abc import Sequence
from typing import ClassVar

from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.fields.encodings import HEX, Encoding
from troth.webhooks.schemes.fields.identifiers import claimed_in_header, logged_id
from troth.webhooks.schemes.scheme import Key, Stamp, Verified, replay_of
from troth.webhooks.schemes.signatures.key_texts import secret_key
from troth.webhooks.schemes.signatures.matching import make_mac, match_mac, read_signature


class BodyHMAC:
    """Base of the schemes with such a header."""

    signs_timestamp = False

    header: ClassVar[bytes]
    prefix: ClassVar[str] = ""
    """Text before the MAC."""
    encoding: ClassVar[Encoding] = HEX
    ids: ClassVar[tuple[bytes, ...]]
    """Headers that can have the ID of the delivery; `sign` writes the first."""

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key, whose bytes are the text; raises `KeyFormatError`."""
        return secret_key(key_id, text)

    def verify(
        self,
        delivery: Delivery,
        keys: Sequence[Key],
        now: float,  # noqa: ARG002 - no time is signed
        tolerance: float,  # noqa: ARG002
    ) -> Verified:
        """Return the verified facts of a delivery; raises `RefusedError`."""
        signature = read_signature(delivery, self.header, self.prefix, self.encoding.decode)
        match = match_mac(keys, delivery.body, (signature,))
        return Verified(match.key_id, replay_of(b"mac", match.mac), logged_id(delivery, *self.ids))

    def claimed_id(self, delivery: Delivery) -> str | None:
        """Return the ID that an unverified delivery claims."""
        return claimed_in_header(delivery, *self.ids)

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery with its signature."""
        signature = self.prefix + self.encoding.encode(make_mac(key, delivery.body))
        return delivery.with_headers(
            ((self.header.decode(), signature), (self.ids[0].decode(), stamp.delivery_id))
        )
