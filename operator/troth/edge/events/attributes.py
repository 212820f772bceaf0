"""Names, forms and limits of an event's attributes (CloudEvents 1.0.2, section 3).

Every value is a non-empty text. An absent attribute and an empty one have the same digest in a
seal, so an empty one is rejected.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from operator import itemgetter
from types import MappingProxyType
from typing import Final

from troth.pki.errors import SPIFFEIDError
from troth.pki.spiffe import SPIFFEID
from troth.pki.tokens.signing import is_text

CORE: Final = (
    "id",
    "source",
    "specversion",
    "type",
    "datacontenttype",
    "dataschema",
    "subject",
    "time",
)
"""The core attributes, in the order in which a seal digests them."""

SIGNED: Final = (
    "trothpolicy",
    "trothbroker",
    "trothtopic",
    "trothenvironment",
    "authtype",
    "authid",
    "trothtenant",
    "trothtxn",
    "trothtxntoken",
    "trothchain",
)
"""The signed extension attributes of an event, in the order in which a seal digests them."""

DEAD_LETTER: Final = (
    *SIGNED,
    "trothreason",
    "trothdetail",
    "trothorigin",
    "trothstored",
    "trothattempts",
    "trothheaders",
    "trothomitted",
    "trothdatadigest",
    "trothdatasize",
    "trothgroup",
)
"""The signed extension attributes of a dead letter of a consumer with a group."""

DEAD_LETTER_WITHOUT_GROUP: Final = DEAD_LETTER[:-1]
"""The signed extension attributes of any other dead letter, such as those of earlier releases."""

REDRIVE: Final = "trothredrive"
"""The attribute that holds the redrive of a message that is delivered again after a review."""

SEAL: Final = "dssematerial"
"""The attribute that holds the seal."""

REQUIRED: Final = (
    "id",
    "source",
    "specversion",
    "type",
    "datacontenttype",
    "time",
    "trothpolicy",
    "trothbroker",
    "trothtopic",
    "trothenvironment",
    "trothchain",
)

SPEC_VERSION: Final = "1.0"
MOST_ATTRIBUTES: Final = 64
"""Maximum number of attributes of a message, those included that no seal covers."""
LONGEST_CHAIN: Final = 16 * 1024
LONGEST_TOKEN: Final = 8 * 1024
LONGEST_HEADERS: Final = 256 * 1024
LONGEST_ORIGIN: Final = 8 * 1024
LONGEST_REDRIVE: Final = 16 * 1024
LONGEST_VALUE: Final = 1024
"""Maximum length of a value in characters, except those of long attributes."""
LONGEST_SEAL: Final = 8 * 1024

NAME = re.compile(r"[a-z0-9]{1,20}", re.ASCII)

_LIMITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        SEAL: LONGEST_SEAL,
        "trothchain": LONGEST_CHAIN,
        "trothtxntoken": LONGEST_TOKEN,
        "trothheaders": LONGEST_HEADERS,
        "trothorigin": LONGEST_ORIGIN,
        REDRIVE: LONGEST_REDRIVE,
        "dataschema": 2048,
        "source": 2048,
    }
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_MEDIA_TYPE = re.compile(
    r"[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}/[a-zA-Z0-9][a-zA-Z0-9!#$&^_.+-]{0,126}"
    r"(?:; ?[a-zA-Z0-9-]{1,64}=[a-zA-Z0-9._-]{1,64}){0,4}",
    re.ASCII,
)
_TYPE = re.compile(r"[A-Za-z0-9._:/-]{1,256}", re.ASCII)
_STRUCTURED = "application/cloudevents"
_EPOCH_YEAR = 1970


def longest(name: str) -> int:
    """Return the maximum length of an attribute's value in characters."""
    return _LIMITS.get(name, LONGEST_VALUE)


def is_type(text: str) -> bool:
    """Return whether a text is valid as the type of an event."""
    return _TYPE.fullmatch(text) is not None


@lru_cache(maxsize=256)
def is_content_type(text: str) -> bool:
    """Return whether a text is a media type (RFC 9110, section 8.3.1) of binary content mode."""
    return _MEDIA_TYPE.fullmatch(text) is not None and not text.lower().startswith(_STRUCTURED)


@lru_cache(maxsize=1024)
def is_workload(text: str) -> bool:
    """Return whether a text is the SPIFFE ID of a workload."""
    try:
        return bool(SPIFFEID.parse(text).path)
    except SPIFFEIDError:
        return False


@lru_cache(maxsize=1024)
def parse_time(text: str) -> float | None:
    """Return the seconds since the epoch of a time in whole seconds of UTC, None if it is none.

    One moment has one spelling: `2026-11-28T12:00:00Z` (RFC 3339, section 5.6).
    """
    if _TIME.fullmatch(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.timestamp() if moment.year >= _EPOCH_YEAR else None


def moment_of(text: str) -> float:
    """Return what `parse_time` reads; raises `ValueError` for any other text."""
    moment = parse_time(text)
    if moment is None:
        raise ValueError("not a time")
    return moment


@lru_cache(maxsize=64)
def write_time(seconds: int) -> str:
    """Return a time, given in seconds since the epoch, in the form that `parse_time` reads."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def fault_of(attributes: Mapping[str, str]) -> str | None:
    """Return what is wrong with the attributes of a sealed event, None if they are well-formed.

    The fault quotes no value. It does not depend on a policy.
    """
    for name in REQUIRED:
        if name not in attributes:
            return f"the attribute {name} is missing"
    if "" in attributes.values():
        return "an attribute is empty"
    fault = _recurring_fault(*_RECURRING(attributes))
    if fault is not None:
        return fault
    for name in ("id", "subject", "authtype", "authid", "trothtenant", "trothtxn"):
        if name in attributes and not is_text(attributes[name]):
            return f"the attribute {name} is not 1 to 256 printable characters"
    return None


_RECURRING = itemgetter("specversion", "time", "type", "datacontenttype", "source")


@lru_cache(maxsize=256)
def _recurring_fault(version: str, time: str, kind: str, media: str, source: str) -> str | None:
    """Return what is wrong with attributes that are the same in many events."""
    if version != SPEC_VERSION:
        return f"the attribute specversion is not {SPEC_VERSION}"
    if parse_time(time) is None:
        return "the attribute time is not a time in whole seconds of UTC, ending in Z"
    if not is_type(kind):
        return "the attribute type is not 1 to 256 letters, digits and . _ : / -"
    if not is_content_type(media):
        return "the attribute datacontenttype is not a media type of binary content mode"
    if not is_workload(source):
        return "the attribute source is not the SPIFFE ID of a workload"
    return None
