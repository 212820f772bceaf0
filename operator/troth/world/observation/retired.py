"""Records of retired roots and token keys, in the Secret of their successors.

A record is public: certificates or a public key, and the time of retirement.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, TypeVar

from pydantic_core import PydanticCustomError, to_json

from troth.pki.encodings.pem import fingerprint, read_certificates, write_certificates
from troth.pki.keys.jwk import load_public_jwk, public_jwk
from troth.resources.schema.bounded_json import read_json
from troth.resources.schema.scalars import format_time, parse_moment
from troth.world.facts.objects import RetiredKey, RetiredRoot, TokenKey

RETIRED = "retired.json"
"""Name of the records in the Secret of an authority or an issuer."""
MOST_BYTES = 256 * 1024
"""Maximum size of the records of one Secret. Every ConfigMap of a trust bundle has them too."""
MOST_ENTRY_BYTES = MOST_BYTES - 64
"""Maximum size of all entries. The rest is for the document around them."""
MOST_ROOTS, MOST_KEYS = 64, 128
"""Maximum number of records of one Secret."""

T = TypeVar("T")


def roots_document(roots: Iterable[RetiredRoot]) -> bytes:
    """Return records of roots as they are written, empty without any."""
    return _document("roots", map(_root_entry, roots))


def keys_document(keys: Iterable[RetiredKey]) -> bytes:
    """Return records of token keys as they are written, empty without any."""
    return _document("keys", map(_key_entry, keys))


def entry_size(record: RetiredRoot | RetiredKey) -> int:
    """Return the size of a record as it is written, in bytes."""
    entry = _root_entry(record) if isinstance(record, RetiredRoot) else _key_entry(record)
    return len(to_json(entry)) + 1


@lru_cache(maxsize=32)
def read_roots(data: bytes) -> tuple[RetiredRoot, ...] | None:
    """Return the records of roots in an authority's Secret, None if they are unreadable."""
    return _read(data, "roots", MOST_ROOTS, _root)


@lru_cache(maxsize=32)
def read_keys(data: bytes) -> tuple[RetiredKey, ...] | None:
    """Return the records of token keys in an issuer's Secret, None if they are unreadable."""
    return _read(data, "keys", MOST_KEYS, _key)


def _document(member: str, entries: Iterable[dict[str, Any]]) -> bytes:
    listed = list(entries)
    return to_json({"version": 1, member: listed}) if listed else b""


def _read(data: bytes, member: str, most: int, read: Callable[[Any], T]) -> tuple[T, ...] | None:
    if not data:
        return ()
    try:
        document = read_json(data, MOST_BYTES)
        entries = document[member]
        if document["version"] != 1 or not isinstance(entries, list) or len(entries) > most:
            return None
        return tuple(map(read, entries))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, PydanticCustomError):
        return None  # a PKIError is a ValueError


def _root_entry(root: RetiredRoot) -> dict[str, Any]:
    return {
        "fingerprint": root.fingerprint,
        "anchors": b"".join(root.anchors).decode("ascii"),
        "retiredAt": format_time(root.retired_at),
    }


def _root(entry: Any) -> RetiredRoot:  # noqa: ANN401 - JSON is anything
    anchors = read_certificates(entry["anchors"].encode(), "a retired root")
    named = entry["fingerprint"]
    if not isinstance(named, str) or len(named) != len(fingerprint(anchors[0])):
        raise ValueError("no fingerprint")
    each = tuple(write_certificates([anchor]) for anchor in anchors)
    return RetiredRoot(named, parse_moment(entry["retiredAt"]), each)


def _key_entry(key: RetiredKey) -> dict[str, Any]:
    return {"jwk": key.key.jwk, "retiredAt": format_time(key.retired_at)}


def _key(entry: Any) -> RetiredKey:  # noqa: ANN401 - JSON is anything
    jwk = public_jwk(load_public_jwk(entry["jwk"]))
    return RetiredKey(TokenKey(jwk["kid"], jwk["x"], jwk["y"]), parse_moment(entry["retiredAt"]))
