"""HMAC that is described in the resource: its header, the signed text, and its encoding."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.fields.encodings import BASE64, HEX, Encoding
from troth.webhooks.schemes.fields.identifiers import claimed_in_header, logged_id, signed_id
from troth.webhooks.schemes.fields.timestamps import fresh
from troth.webhooks.schemes.providers.described.signed_text import (
    ID,
    METHOD,
    TIMESTAMP,
    URL,
    SignedText,
    parse_signed_text,
)
from troth.webhooks.schemes.scheme import Key, Stamp, Verified, replay_of
from troth.webhooks.schemes.signatures.key_texts import secret_key
from troth.webhooks.schemes.signatures.matching import make_mac, match_mac, read_signature

_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}", re.ASCII)  # RFC 9110, section 5.6.2

_SIZES = {"SHA256": 32, "SHA512": 64, "SHA1": 20}
_ENCODINGS = {"Hex": HEX, "Base64": BASE64}

_LONGEST_PREFIX = 64


class Described(Protocol):
    """Description of an HMAC, as in `troth.documents.webhook_endpoint.Described`."""

    @property
    def header(self) -> str:
        """Header with the signature."""

    @property
    def prefix(self) -> str:
        """Text before the signature."""

    @property
    def signed(self) -> str:
        """Template of the signed text."""

    @property
    def digest(self) -> str:
        """SHA256, SHA512 or SHA1."""

    @property
    def encoding(self) -> str:
        """Hex or Base64."""

    @property
    def timestamp_header(self) -> str | None:
        """Header with `{timestamp}`."""

    @property
    def id_header(self) -> str | None:
        """Header with `{id}`, or with an ID that is not signed."""


@dataclass(frozen=True, slots=True)
class DescribedHMAC:
    """Scheme of a described HMAC; `of` creates it."""

    url: str
    header: bytes
    prefix: str
    signed: SignedText
    algorithm: str
    size: int
    encoding: Encoding
    timestamp_header: bytes | None
    id_header: bytes | None

    @classmethod
    def of(cls, described: Described, url: str) -> Self:
        """Return the scheme; raises `ValueError`, which says what to change in the description."""
        signed = parse_signed_text(described.signed)
        if not (
            described.prefix.isascii()
            and described.prefix.isprintable()
            and len(described.prefix) <= _LONGEST_PREFIX
        ):
            raise ValueError(f"prefix: write at most {_LONGEST_PREFIX} printable characters")
        if signed.has(TIMESTAMP) is not bool(described.timestamp_header):
            raise ValueError(
                "timestampHeader: set it if and only if {timestamp} is signed; an unsigned "
                "timestamp proves nothing"
            )
        if signed.has(ID) and not described.id_header:
            raise ValueError("idHeader: set it, because {id} is signed")
        if described.digest not in _SIZES or described.encoding not in _ENCODINGS:
            raise ValueError("digest or encoding: unknown value")
        named = (described.header, described.timestamp_header, described.id_header)
        headers = [_name(each) for each in named if each]
        if len(set(headers)) != len(headers):
            raise ValueError("header: one header has two purposes")
        return cls(
            url,
            _name(described.header),
            described.prefix,
            signed,
            f"hmac-{described.digest.lower()}",
            _SIZES[described.digest],
            _ENCODINGS[described.encoding],
            _name(described.timestamp_header) if described.timestamp_header else None,
            _name(described.id_header) if described.id_header else None,
        )

    @property
    def signs_timestamp(self) -> bool:
        """Whether `{timestamp}` is in the template."""
        return self.signed.has(TIMESTAMP)

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key; raises `KeyFormatError`."""
        return secret_key(key_id, text, self.algorithm)

    def verify(
        self, delivery: Delivery, keys: Sequence[Key], now: float, tolerance: float
    ) -> Verified:
        """Return the verified facts of a delivery; raises `RefusedError`."""
        decode = self.encoding.decode
        signature = read_signature(delivery, self.header, self.prefix, decode, self.size)
        values = {METHOD: delivery.method, URL: self.url}
        timestamp = None
        if self.timestamp_header is not None:
            values[TIMESTAMP] = delivery.header(self.timestamp_header)
            timestamp = fresh(values[TIMESTAMP], now, tolerance)
        if self.signed.has(ID):
            assert self.id_header is not None
            values[ID] = signed_id(delivery, self.id_header)
        signed = self.signed.of(values, delivery.body)
        match = match_mac(keys, signed, (signature,), self.algorithm)
        if ID in values:
            replay, named = replay_of(b"id", values[ID].encode()), values[ID]
            return Verified(match.key_id, replay, named, timestamp)
        logged = logged_id(delivery, self.id_header) if self.id_header else None
        return Verified(match.key_id, replay_of(b"mac", match.mac), logged, timestamp)

    def claimed_id(self, delivery: Delivery) -> str | None:
        """Return the ID that an unverified delivery claims."""
        return claimed_in_header(delivery, self.id_header) if self.id_header else None

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery with its signature."""
        values = {
            METHOD: delivery.method,
            URL: self.url,
            TIMESTAMP: str(stamp.now),
            ID: stamp.delivery_id,
        }
        mac = make_mac(key, self.signed.of(values, delivery.body))
        headers = [(self.header.decode(), self.prefix + self.encoding.encode(mac))]
        if self.timestamp_header is not None:
            headers.append((self.timestamp_header.decode(), values[TIMESTAMP]))
        if self.id_header is not None:
            headers.append((self.id_header.decode(), values[ID]))
        return delivery.with_headers(headers)


def _name(header: str) -> bytes:
    if _TOKEN.fullmatch(header) is None:
        raise ValueError("header: not a header name")
    return header.lower().encode()
