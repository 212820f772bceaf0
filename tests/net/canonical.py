"""The canonical form of recorded values: JSON with class names, without their modules.

A dataclass is an object with the name of its class before its fields. Sets are sorted, times are in
UTC, and compressed data is shown decompressed, because zlib's output differs between versions.
Certificates are shown by their subject and fingerprint.
"""

import base64
import binascii
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any

from cryptography import x509
from pydantic import BaseModel

_GZIP = b"\x1f\x8b"
_GZIP_BASE64 = "H4sI"
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----\n?", re.DOTALL)


def canonical(value: Any) -> Any:
    """Return a value as JSON data."""
    kind = type(value)  # fast path for common types: a thousand worlds have many
    if kind is str:
        return text_of(value)
    if kind is dict:
        return {_member(key): canonical(member) for key, member in value.items()}
    if kind is list:
        return [canonical(each) for each in value]
    return _unusual(value)


def _unusual(value: Any) -> Any:
    if is_dataclass(value):
        members = {each.name: canonical(getattr(value, each.name)) for each in fields(value)}
        return {"": type(value).__name__} | members
    if isinstance(value, BaseModel):
        shown = value.model_dump(by_alias=True, exclude_defaults=True)
        return {"": type(value).__name__} | canonical(shown)
    if isinstance(value, Mapping):
        return {_member(key): canonical(member) for key, member in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(map(canonical, value), key=dumped)
    if isinstance(value, tuple | list):
        return [canonical(each) for each in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    match value:
        case Enum():
            return canonical(value.value)
        case None | bool() | int():
            return value
        case float():
            return repr(value)
        case str():
            return text_of(value)
        case bytes():
            return bytes_of(value)
        case datetime():
            return value.astimezone(UTC).isoformat()
        case timedelta():
            return f"{value.total_seconds():.6f}s"
    raise TypeError(f"{type(value).__name__} has no canonical form; give it one here")


def dumped(value: Any, indent: int | None = None) -> str:
    """Return JSON as text, the same for equal values."""
    separators = None if indent else (",", ":")
    return json.dumps(value, sort_keys=True, indent=indent, separators=separators)


def digest(text: str) -> str:
    """Return the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def bytes_of(value: bytes) -> str:
    """Return bytes as text: decompressed, or in base64 if they are not UTF-8."""
    if value.startswith(_GZIP):
        return f"gzip {bytes_of(gzip.decompress(value))}"
    try:
        return text_of(value.decode())
    except UnicodeDecodeError:
        return f"base64 {base64.b64encode(value).decode()}"


def text_of(text: str) -> str:
    """Return a text with each certificate replaced by its subject and fingerprint."""
    if text.startswith(_GZIP_BASE64):
        try:
            return f"gzip {bytes_of(gzip.decompress(base64.b64decode(text, validate=True)))}"
        except (binascii.Error, OSError, EOFError, zlib.error):
            return text
    return _PEM.sub(lambda found: _block(found[0], found[1]), text) if "-----" in text else text


@lru_cache(maxsize=4096)
def _block(block: str, label: str) -> str:
    shown = hashlib.sha256(block.encode()).hexdigest()[:16]
    if label == "CERTIFICATE":
        try:
            certificate = x509.load_pem_x509_certificate(block.encode())
        except ValueError:
            return f"<unreadable certificate {shown}>\n"
        return f"<certificate of {certificate.subject.rfc4514_string()}: {shown}>\n"
    return f"<{label.lower()} {shown}>\n"


def _member(key: Any) -> str:
    if type(key) is str:
        return key
    return str(key) if isinstance(key, str) else dumped(canonical(key))
