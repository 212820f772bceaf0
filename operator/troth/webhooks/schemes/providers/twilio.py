"""Twilio: an HMAC-SHA1 of the URL, followed by every field of the form, sorted by name.

If the body is not a form, the URL has the digest of the body in its query, as `bodySHA256`. Twilio
signs the URL with or without its port, and both are tried. No time is signed. The signed text does
not show where a name ends or how often a field occurs, so the same characters can be split into
other fields. So no field may be repeated, and a replay is recognized by the MAC, which all such
splits share.

https://www.twilio.com/docs/usage/security#validating-requests
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256
from hmac import compare_digest

from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.fields.addresses import Address, query_of
from troth.webhooks.schemes.fields.encodings import from_base64, to_base64
from troth.webhooks.schemes.fields.identifiers import claimed_in_header, logged_id
from troth.webhooks.schemes.scheme import Key, Stamp, Verified, replay_of
from troth.webhooks.schemes.signatures.key_texts import secret_key
from troth.webhooks.schemes.signatures.matching import make_mac, match_mac, read_signature

HMAC_SHA1 = "hmac-sha1"
_MAC_BYTES = 20
_HEADER = b"x-twilio-signature"
_ID = b"i-twilio-idempotency-token"
_FORM = "application/x-www-form-urlencoded"
_DIGEST = "bodySHA256"
_MOST_FIELDS = 1000


class Twilio:
    """`X-Twilio-Signature`, made with the account's auth token.

    `url` is the URL that is configured at Twilio, without its query.
    """

    signs_timestamp = False

    def __init__(self, url: str) -> None:
        """Raise `ValueError` for a URL that no sender can call."""
        self._address = Address.parse(url)

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key of an auth token; raises `KeyFormatError`."""
        return secret_key(key_id, text, HMAC_SHA1)

    def verify(
        self,
        delivery: Delivery,
        keys: Sequence[Key],
        now: float,  # noqa: ARG002 - no time is signed
        tolerance: float,  # noqa: ARG002
    ) -> Verified:
        """Return the verified facts of a delivery; raises `RefusedError`."""
        signature = read_signature(delivery, _HEADER, "", from_base64, _MAC_BYTES)
        without, with_port = self._signed(delivery)
        try:
            match = match_mac(keys, without, (signature,), HMAC_SHA1)
        except RefusedError:
            match = match_mac(keys, with_port, (signature,), HMAC_SHA1)
        return Verified(match.key_id, replay_of(b"mac", match.mac), logged_id(delivery, _ID))

    def claimed_id(self, delivery: Delivery) -> str | None:
        """Return the ID that an unverified delivery claims."""
        return claimed_in_header(delivery, _ID)

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery, signed; the query has the digest if the body is no form."""
        if not _is_form(delivery) and f"{_DIGEST}=".encode() not in delivery.target:
            mark = b"&" if b"?" in delivery.target else b"?"
            digest = f"{_DIGEST}={sha256(delivery.body).hexdigest()}".encode()
            target = delivery.target + mark + digest
            delivery = Delivery(delivery.method, target, delivery.headers, delivery.body)
        without, with_port = self._signed(delivery)
        mac = make_mac(key, with_port if self._address.port else without)
        return delivery.with_headers(
            ((_HEADER.decode(), to_base64(mac)), (_ID.decode(), stamp.delivery_id))
        )

    def _signed(self, delivery: Delivery) -> tuple[bytes, bytes]:
        """Return the signed texts: of the URL without its port and with it."""
        query = query_of(delivery)
        tail = query.encode() + self._fields(delivery, query)
        return (
            self._address.without_port().encode() + tail,
            self._address.with_port().encode() + tail,
        )

    def _fields(self, delivery: Delivery, query: str) -> bytes:
        digests = [
            value
            for name, _, value in (each.partition("=") for each in query[1:].split("&"))
            if name == _DIGEST
        ]
        if digests:
            # Decided by the query alone. The content type is not signed, so a delivery whose URL
            # was signed could otherwise be replayed as a form without fields.
            actual = sha256(delivery.body).hexdigest()
            if len(digests) > 1 or not compare_digest(digests[0].lower().encode(), actual.encode()):
                raise RefusedError(
                    Reason.CONTENT_CHANGED, f"{_DIGEST} in the URL is not the digest of the body"
                )
            return b""
        if not _is_form(delivery):
            raise RefusedError(
                Reason.NOT_COVERED, f"the body is not a form, and the URL has no {_DIGEST} of it"
            )
        # Twilio sorts by name, then by value
        return b"".join(name + value for name, value in sorted(_pairs(delivery.body)))


def _is_form(delivery: Delivery) -> bool:
    content_type = delivery.optional(b"content-type") or ""
    return content_type.partition(";")[0].strip().lower() == _FORM


def _pairs(body: bytes) -> set[tuple[bytes, bytes]]:
    fields = list(_read_form(body))
    pairs = set(fields)
    if len(pairs) != len(fields):
        # the signature would be the same without the repeated field
        raise RefusedError(Reason.BODY_MALFORMED, "the form repeats a field")
    return pairs


def _read_form(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    if not body:
        return
    fields = body.split(b"&", _MOST_FIELDS)
    if len(fields) > _MOST_FIELDS:
        raise RefusedError(Reason.BODY_MALFORMED, "the form has too many fields")
    for field in fields:
        name, equals, value = field.partition(b"=")
        if not name or not equals:
            raise RefusedError(Reason.BODY_MALFORMED, "a field of the form is not name=value")
        yield _decoded(name), _decoded(value)


def _decoded(text: bytes) -> bytes:
    """Return a name or a value of a form in UTF-8, as Twilio signs it."""
    value = text.replace(b"+", b" ")
    if b"%" in value:
        value = _unescaped(value)
    try:
        value.decode()
    except UnicodeDecodeError:
        raise RefusedError(Reason.BODY_MALFORMED, "a field of the form is not UTF-8") from None
    return value


def _unescaped(text: bytes) -> bytes:
    """Return a text without its % escapes.

    They become escapes of Python, which one call decodes: anybody can send a form, so decoding must
    be cheap. `urllib.parse` takes a hundred times as long.
    """
    try:
        escaped = text.replace(b"\\", b"\\\\").replace(b"%", b"\\x")
        return escaped.decode("unicode_escape").encode("latin-1")
    except UnicodeDecodeError:
        raise RefusedError(
            Reason.BODY_MALFORMED, "a field of the form has an invalid % escape"
        ) from None
