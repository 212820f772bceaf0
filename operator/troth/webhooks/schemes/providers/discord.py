"""Discord: Ed25519 over the timestamp and the body. The gateway answers its PING itself.

The signature names neither an algorithm nor a key. The time is signed. Discord sets no tolerance,
so that of the endpoint applies.

https://discord.com/developers/docs/interactions/overview#setting-up-an-endpoint
"""

from collections.abc import Sequence

from pydantic_core import from_json

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.fields.encodings import from_hex, to_hex
from troth.webhooks.schemes.fields.identifiers import claimed_in_body, is_identifier
from troth.webhooks.schemes.fields.timestamps import fresh
from troth.webhooks.schemes.scheme import Key, KeyFormatError, Stamp, Verified, replay_of
from troth.webhooks.schemes.signatures.asymmetric import (
    Pair,
    is_for,
    is_signed,
    make_signature,
    read_pair,
)
from troth.webhooks.schemes.signatures.ed25519 import (
    ED25519,
    KEY_BYTES,
    SIGNATURE_BYTES,
    public_key,
)
from troth.webhooks.schemes.signatures.matching import read_signature

PONG = b'{"type":1}'

_SIGNATURE = b"x-signature-ed25519"
_TIMESTAMP = b"x-signature-timestamp"
_PING = 1


class Discord:
    """`X-Signature-Ed25519` and `X-Signature-Timestamp`."""

    signs_timestamp = True

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key: the application's public key as Discord shows it, or a PEM.

        Raises `KeyFormatError`.
        """
        plain = text.strip()
        if plain.startswith(b"-----"):
            pair = read_pair(plain)
            if not is_for(pair.public, ED25519):
                raise KeyFormatError("not an Ed25519 key; Discord uses no other kind")
            return Key(key_id, ED25519, pair)
        try:
            value = from_hex(plain.decode("ascii").lower())
        except ValueError:
            value = b""
        if len(value) != KEY_BYTES:
            raise KeyFormatError(
                "not 64 hexadecimal digits; write the public key from the application's general "
                "information"
            )
        return Key(key_id, ED25519, Pair(public_key(value)))

    def verify(
        self, delivery: Delivery, keys: Sequence[Key], now: float, tolerance: float
    ) -> Verified:
        """Return the verified facts of a delivery; raises `RefusedError`."""
        signature = read_signature(delivery, _SIGNATURE, "", from_hex, SIGNATURE_BYTES)
        text = delivery.header(_TIMESTAMP)
        timestamp = fresh(text, now, tolerance)
        key_id = _signer(keys, text.encode() + delivery.body, signature)
        return _verified(key_id, timestamp, text, delivery.body)

    def claimed_id(self, delivery: Delivery) -> str | None:
        """Return the ID that an unverified delivery claims."""
        return claimed_in_body(delivery.body, "id")

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery with its signature; raises `KeyFormatError` for a public key."""
        pair = key.material
        assert isinstance(pair, Pair)
        if pair.private is None:
            raise KeyFormatError("a public key; to sign, use the private key in PEM")
        text = str(stamp.now)
        signature = make_signature(pair.private, ED25519, text.encode() + delivery.body)
        return delivery.with_headers(
            ((_SIGNATURE.decode(), to_hex(signature)), (_TIMESTAMP.decode(), text))
        )


def _signer(keys: Sequence[Key], message: bytes, signature: bytes) -> str:
    for key in keys:
        pair = key.material
        if (
            key.algorithm == ED25519
            and isinstance(pair, Pair)
            and is_signed(pair.public, ED25519, message, signature)
        ):
            return key.id
    raise RefusedError(Reason.SIGNATURE_WRONG, "no key of the endpoint made the signature")


def _verified(key_id: str, timestamp: int, text: str, body: bytes) -> Verified:
    try:
        document = from_json(body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RefusedError(Reason.BODY_MALFORMED, "the body is not a JSON object")
    found = document.get("id")
    # A webhook event, unlike an interaction, also has type 1, and has no ID.
    ping = document.get("type") == _PING and "event" not in document
    named = found if is_identifier(found) else None
    replay = (
        replay_of(b"id", named.encode()) if named else replay_of(b"signed", text.encode(), body)
    )
    return Verified(key_id, replay, named, timestamp, PONG if ping else None)
