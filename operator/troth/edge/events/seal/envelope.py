"""The seal of an event: verification material in a DSSE envelope.

Sources: CloudEvents extension "Verifiable CloudEvents with DSSE"; DSSE 1.0.2. The extension lets a
reader ignore unknown members and accept every form of JSON and base64. This one accepts exactly the
bytes that `write` returns, so no edit of a sealed event is accepted.
"""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from troth.edge.events.attributes import CORE, SIGNED

PAYLOAD_TYPE = "https://cloudevents.io/verifiability/dsse/v0.1"

_NONE = sha256(b"").digest()
_PREFIX = f"DSSEv1 {len(PAYLOAD_TYPE)} {PAYLOAD_TYPE} ".encode()
_BEGIN = b'{"payload":"'
_TYPE = b'","payloadType":"%b","signatures":[{"keyid":"' % PAYLOAD_TYPE.encode()
_SIG = b'","sig":"'
_END = b'"}]}'
_WRITTEN = b"%b%%b%b%%b%b%%b%b" % (_BEGIN, _TYPE, _SIG, _END)
_BEFORE_KEY_ID = len(_BEGIN) + len(_TYPE)
_REST = re.compile(
    rb"([A-Za-z0-9_-]{43})%b([A-Za-z0-9+/=]+)%b" % (re.escape(_SIG), re.escape(_END))
)
_ENVELOPE = re.compile(
    rb"%b([A-Za-z0-9+/=]+)%b%b" % (re.escape(_BEGIN), re.escape(_TYPE), _REST.pattern)
)
# Runs of attributes that are the same in many events. The digests of a run are cached together.
_ID, *_KIND, _SUBJECT, _TIME = CORE
_PLACE, _CONTEXT, _CHAIN = SIGNED[:5], SIGNED[5:-1], SIGNED[-1]
_CHANGING = (_ID, _SUBJECT, *_CONTEXT)


class Seal(NamedTuple):
    """A parsed seal: the payload that was signed, the signature, and the key's ID."""

    payload: bytes
    signature: bytes
    key_id: str


def signed_bytes(payload: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding of a payload: the bytes to sign."""
    return b"%b%d %b" % (_PREFIX, len(payload), payload)


def material(attributes: Mapping[str, str], data: bytes, signed: Sequence[str] = SIGNED) -> bytes:
    """Return the verification material of an event, which is the payload of its seal.

    `signed` are the names of the signed extension attributes: `SIGNED`, and others behind them. An
    absent attribute counts as an empty one.
    """
    get = attributes.get
    event_id, subject, *context = _digests(map(get, _CHANGING))
    core = [
        event_id,
        _recurring(*map(get, _KIND)),
        subject,
        _recurring(get(_TIME)),
        sha256(data).digest(),
    ]
    extensions = [_recurring(*map(get, _PLACE)), *context, _chain(get(_CHAIN))]
    if signed is not SIGNED:
        extensions += _digests(map(get, signed[len(SIGNED) :]))
    return b'{"core":"%b","ext":"%b","signedextattrs":%b}' % (
        b2a_base64(sha256(b"".join(core)).digest(), newline=False),
        b2a_base64(sha256(b"".join(extensions)).digest(), newline=False),
        _names(tuple(signed)),
    )


def write(payload: bytes, signature: bytes, key_id: str) -> str:
    """Return the value of the attribute `dssematerial`: the envelope in base64."""
    envelope = _WRITTEN % (
        b2a_base64(payload, newline=False),
        key_id.encode(),
        b2a_base64(signature, newline=False),
    )
    return b2a_base64(envelope, newline=False).decode()


def read(text: str) -> Seal:
    """Parse the value of `dssematerial`.

    Raises `ValueError` for everything that `write` does not return. Its message quotes nothing.
    """
    found = _ENVELOPE.fullmatch(_decode(text))
    if found is None:
        raise ValueError("the seal is not a DSSE envelope in its only accepted form")
    payload, key_id, signature = found.groups()
    seal = Seal(_decode(payload), _decode(signature), key_id.decode())
    if write(*seal) != text:
        raise ValueError("the seal is not canonical base64")
    return seal


def read_sealed(text: str, payload: bytes) -> Seal | None:
    """Return what `read` returns, or raise what it raises; None for a seal of another payload.

    This takes half the time for a seal of the payload, and is as strict: only the bytes behind the
    payload and its type are parsed, and the whole text is compared with what `write` returns.
    """
    begin = _BEFORE_KEY_ID + 4 * -(-len(payload) // 3)
    skipped = begin // 3
    try:
        rest = _REST.fullmatch(a2b_base64(text[4 * skipped :]), begin - 3 * skipped)
        seal = rest and Seal(payload, a2b_base64(rest[2]), rest[1].decode())
    except ValueError:
        seal = None
    if seal is not None and write(*seal) == text:
        return seal
    other = read(text)
    return other if other.payload == payload else None


def _decode(text: str | bytes) -> bytes:
    try:
        return a2b_base64(text, strict_mode=True)
    except ValueError:
        raise ValueError("the seal is not canonical base64") from None


def _digests(values: Iterable[str | None]) -> list[bytes]:
    return [_NONE if each is None else sha256(each.encode()).digest() for each in values]


@lru_cache(maxsize=256)
def _recurring(*values: str | None) -> bytes:
    return b"".join(_digests(values))


@lru_cache(maxsize=64)  # a chain is long
def _chain(value: str | None) -> bytes:
    return b"".join(_digests((value,)))


@lru_cache(maxsize=8)
def _names(names: tuple[str, ...]) -> bytes:
    return b"[%b]" % b",".join(f'"{name}"'.encode() for name in names)
