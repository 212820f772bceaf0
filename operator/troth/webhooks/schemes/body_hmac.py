"""A header that has nothing but an HMAC of the body, as GitHub, Bitbucket, Jira and Shopify have.

No time is signed, and no id: what repeats is known by its MAC, and the id is only logged.
"""

from collections.abc import Sequence
from typing import ClassVar

from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.encodings import HEX, Encoding
from troth.webhooks.schemes.identifiers import logged_id
from troth.webhooks.schemes.key_texts import secret_key
from troth.webhooks.schemes.matching import make_mac, match_mac, read_signature
from troth.webhooks.schemes.scheme import Key, Stamp, Verified, replay_of


class BodyHMAC:
    """What the senders of such a header have in common."""

    signs_timestamp = False

    header: ClassVar[bytes]
    prefix: ClassVar[str] = ""
    """What stands before the MAC."""
    encoding: ClassVar[Encoding] = HEX
    ids: ClassVar[tuple[bytes, ...]]
    """The headers that may have the delivery's id; who signs writes the first."""

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key, which is the text itself; raises `KeyFormatError`."""
        return secret_key(key_id, text)

    def verify(
        self,
        delivery: Delivery,
        keys: Sequence[Key],
        now: float,  # noqa: ARG002 - no time is signed
        tolerance: float,  # noqa: ARG002
    ) -> Verified:
        """Return what is verified; raises `RefusedError`."""
        signature = read_signature(delivery, self.header, self.prefix, self.encoding.decode)
        match = match_mac(keys, delivery.body, (signature,))
        return Verified(match.key_id, replay_of(b"mac", match.mac), logged_id(delivery, *self.ids))

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery, signed."""
        signature = self.prefix + self.encoding.encode(make_mac(key, delivery.body))
        return delivery.with_headers(
            ((self.header.decode(), signature), (self.ids[0].decode(), stamp.delivery_id))
        )
