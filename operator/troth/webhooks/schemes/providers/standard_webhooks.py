"""Standard Webhooks 1.0.0: ID, time and body are signed, with HMAC (v1) or Ed25519 (v1a).

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from collections.abc import Sequence

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.fields.encodings import from_base64, to_base64
from troth.webhooks.schemes.fields.identifiers import claimed_in_header, signed_id
from troth.webhooks.schemes.fields.timestamps import fresh
from troth.webhooks.schemes.scheme import (
    MOST_SIGNATURES,
    Key,
    KeyFormatError,
    Stamp,
    Verified,
    replay_of,
)
from troth.webhooks.schemes.signatures import ed25519
from troth.webhooks.schemes.signatures.ed25519 import ED25519, KeyPair
from troth.webhooks.schemes.signatures.matching import (
    HMAC_SHA256,
    MAC_BYTES,
    decode_signature,
    fitting_mac,
    make_mac,
)

_ID = b"webhook-id"
_TIMESTAMP = b"webhook-timestamp"
_SIGNATURE = b"webhook-signature"

SECRET = "whsec_"  # noqa: S105 - prefix of a secret
_PRIVATE = "whsk_"
_PUBLIC = "whpk_"

_SHORTEST, _LONGEST = 24, 64

# from the algorithm of a key to the version of its signatures
_VERSIONS = {HMAC_SHA256: "v1", ED25519: "v1a"}
_ALGORITHMS = {version: algorithm for algorithm, version in _VERSIONS.items()}
_SIZES = {HMAC_SHA256: MAC_BYTES, ED25519: ed25519.SIGNATURE_BYTES}


class StandardWebhooks:
    """`webhook-id`, `webhook-timestamp` and `webhook-signature`, a list.

    The prefix of a key determines its algorithm, and only signatures of that version are compared.
    """

    signs_timestamp = True

    def key(self, key_id: str, text: bytes) -> Key:
        """Return a `whsec_`, `whpk_` or `whsk_` key; raises `KeyFormatError`."""
        try:
            plain = text.strip().decode("ascii")
        except UnicodeDecodeError:
            plain = ""
        if plain.startswith(SECRET):
            secret = _decoded(plain.removeprefix(SECRET))
            if not _SHORTEST <= len(secret) <= _LONGEST:
                raise KeyFormatError(
                    f"a {SECRET} secret is {_SHORTEST} to {_LONGEST} bytes in base64"
                )
            return Key(key_id, HMAC_SHA256, secret)
        if plain.startswith(_PUBLIC):
            public = ed25519.public_key(_decoded(plain.removeprefix(_PUBLIC)))
            return Key(key_id, ED25519, KeyPair(public))
        if plain.startswith(_PRIVATE):
            return Key(key_id, ED25519, _private(_decoded(plain.removeprefix(_PRIVATE))))
        raise KeyFormatError(f"a key begins with {SECRET} or {_PUBLIC}; write the prefix too")

    def verify(
        self, delivery: Delivery, keys: Sequence[Key], now: float, tolerance: float
    ) -> Verified:
        """Return the verified facts of a delivery; raises `RefusedError`."""
        signatures = _signatures(delivery, {key.algorithm for key in keys})
        delivery_id = signed_id(delivery, _ID, until=".")
        text = delivery.header(_TIMESTAMP)
        timestamp = fresh(text, now, tolerance)
        signed = _signed(delivery_id, text, delivery.body)
        found = None
        for key in keys:
            if _fits(key, signed, signatures[key.algorithm]) and found is None:
                found = key.id
        if found is None:
            raise RefusedError(Reason.SIGNATURE_WRONG, "no key of the endpoint made a signature")
        return Verified(found, replay_of(b"id", delivery_id.encode()), delivery_id, timestamp)

    def claimed_id(self, delivery: Delivery) -> str | None:
        """Return the ID that an unverified delivery claims."""
        return claimed_in_header(delivery, _ID)

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery with its signature; raises `KeyFormatError` for a public key."""
        text = str(stamp.now)
        signed = _signed(stamp.delivery_id, text, delivery.body)
        make = make_mac if key.algorithm == HMAC_SHA256 else ed25519.make_signature
        return delivery.with_headers(
            (
                (_ID.decode(), stamp.delivery_id),
                (_TIMESTAMP.decode(), text),
                (
                    _SIGNATURE.decode(),
                    f"{_VERSIONS[key.algorithm]},{to_base64(make(key, signed))}",
                ),
            )
        )


def _signed(delivery_id: str, timestamp: str, body: bytes) -> bytes:
    return b"%b.%b.%b" % (delivery_id.encode(), timestamp.encode(), body)


def _fits(key: Key, signed: bytes, signatures: Sequence[bytes]) -> bool:
    if key.algorithm == HMAC_SHA256:
        return fitting_mac(key, signed, signatures) is not None
    return ed25519.fits(key, signed, signatures)


def _signatures(delivery: Delivery, algorithms: set[str]) -> dict[str, list[bytes]]:
    """Return the signatures by algorithm, without those of other algorithms."""
    text = delivery.header(_SIGNATURE, Reason.SIGNATURE_MISSING)
    listed = text.split(" ", MOST_SIGNATURES)
    if len(listed) > MOST_SIGNATURES:
        raise RefusedError(Reason.TOO_MANY_SIGNATURES, f"more than {MOST_SIGNATURES} signatures")
    found: dict[str, list[bytes]] = {algorithm: [] for algorithm in algorithms}
    for each in listed if text else ():
        version, comma, encoded = each.partition(",")
        if not (version and comma):
            raise RefusedError(
                Reason.SIGNATURE_MALFORMED, "a signature is a version, a comma and a value"
            )
        algorithm = _ALGORITHMS.get(version)
        if algorithm in found:
            found[algorithm].append(decode_signature(encoded, from_base64, _SIZES[algorithm]))
    if not any(found.values()):
        raise RefusedError(
            Reason.SIGNATURE_MISSING,
            "there is no signature of a kind that the endpoint's keys verify",
        )
    if len(found.get(ED25519, ())) > ed25519.MOST_SIGNATURES:
        raise RefusedError(
            Reason.TOO_MANY_SIGNATURES, f"more than {ed25519.MOST_SIGNATURES} Ed25519 signatures"
        )
    return found


def _decoded(text: str) -> bytes:
    try:
        # some senders omit the padding, and people copy the key as it is
        return from_base64(text + "=" * (-len(text) % 4))
    except ValueError:
        raise KeyFormatError(
            "the text after the prefix is not base64; copy the whole key"
        ) from None


def _private(raw: bytes) -> KeyPair:
    if len(raw) != 2 * ed25519.KEY_BYTES:
        raise KeyFormatError(f"a {_PRIVATE} key is {2 * ed25519.KEY_BYTES} bytes in base64")
    private = Ed25519PrivateKey.from_private_bytes(raw[: ed25519.KEY_BYTES])
    public = private.public_key()
    if public.public_bytes(Encoding.Raw, PublicFormat.Raw) != raw[ed25519.KEY_BYTES :]:
        raise KeyFormatError(f"the halves of the {_PRIVATE} key do not belong together")
    return KeyPair(public, private)
