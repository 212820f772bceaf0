"""Scalar types of the resources, each with its validation rule."""

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from ipaddress import IPv6Network, ip_network
from typing import Annotated, Any

from pydantic import (
    AwareDatetime,
    BeforeValidator,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from troth.resources.schema.rules import Rule

_UNITS = {"h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")


def is_duration(field: str) -> str:
    """Return the CEL expression that checks that a string field is a duration."""
    pattern = "^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?$"
    return f"({field}.matches('{pattern}') && {field} != '')"


DURATION_RULE = Rule(
    cel=is_duration("self"),
    message="write a duration in hours, minutes and seconds, such as 24h, 90m or 1h30m",
    holds=lambda _: True,  # parse_duration has rejected every other text
)


def parse_duration(text: object) -> timedelta:
    """Return the length of a duration such as `1h30m`, in the units h, m and s."""
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(text) if isinstance(text, str) and text.isascii() else None
    if match is None or not any(match.groups()):
        raise PydanticCustomError("rule", "{sentence}", {"sentence": DURATION_RULE.message})
    hours, minutes, seconds = (int(group or 0) for group in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def format_duration(length: timedelta) -> str:
    """Return `length` in the largest units that divide it, such as `24h` or `1h30m`."""
    left = int(length.total_seconds())
    parts = []
    for unit, size in _UNITS.items():
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


@lru_cache(maxsize=256)  # the conditions of a status have few different times
def format_time(moment: datetime) -> str:
    """Return `moment` in the form of Kubernetes: RFC 3339, UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def duration_between(shortest: str, longest: str) -> Rule:
    """Return the rule that a duration lies between two others, inclusive."""
    low, high = parse_duration(shortest), parse_duration(longest)
    return Rule(
        cel=f"!{is_duration('self')} || "
        f"(duration(self) >= duration('{shortest}') && duration(self) <= duration('{longest}'))",
        message=f"write a duration between {shortest} and {longest}",
        holds=lambda length: low <= length <= high,
    )


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "maxLength": 24}),
    DURATION_RULE,
]

Time = Annotated[
    AwareDatetime,
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""Time that Troth writes."""

_DATE = (
    "20([0-9]{2}-("
    "(0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|"
    "(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
    "02-(0[1-9]|1[0-9]|2[0-8]))|"
    "([02468][048]|[13579][26])-02-29)"
)
_CLOCK = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,6})?"
_OFFSET = "(Z|[-+]([01][0-9]|2[0-3]):[0-5][0-9])"


def is_moment(field: str) -> str:
    """Return the CEL expression that checks that a string field is a time."""
    return f"{field}.matches('^{_DATE}T{_CLOCK}{_OFFSET}$')".replace("\\.", "\\\\.")


MOMENT_RULE = Rule(
    cel=is_moment("self"),
    message="write an RFC 3339 time in this century, such as 2026-11-24T12:00:00Z",
    holds=lambda _: True,  # parse_moment has rejected every other text
)
_MOMENT = re.compile(f"{_DATE}T{_CLOCK}{_OFFSET}", re.ASCII)


def parse_moment(text: object) -> datetime:
    """Return a time such as `2026-11-24T12:00:00Z` as an aware `datetime` in UTC."""
    if isinstance(text, datetime) and text.tzinfo is not None:
        return text.astimezone(UTC)
    if not isinstance(text, str) or _MOMENT.fullmatch(text) is None:
        raise PydanticCustomError("rule", "{sentence}", {"sentence": MOMENT_RULE.message})
    return datetime.fromisoformat(text).astimezone(UTC)


Moment = Annotated[
    datetime,
    BeforeValidator(parse_moment),
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "maxLength": 32}),
    MOMENT_RULE,
]
"""Time that a user writes. It has a rule instead of `format: date-time`, whose error does not say
what to write and which accepts years that Python cannot represent."""

Flag = Annotated[bool, Field(strict=True)]
"""Boolean. Strings and numbers are rejected."""


def matching(pattern: str, message: str) -> Rule:
    """Return the rule that a text matches a pattern as a whole.

    The pattern begins with `^`, ends with `$` and means the same to RE2 and Python.
    """
    compiled = re.compile(pattern.removeprefix("^").removesuffix("$"), re.ASCII)
    escaped = pattern.replace("\\", "\\\\").replace("'", "\\'")
    return Rule(
        cel=f"self.matches('{escaped}')",
        message=message,
        holds=lambda text: compiled.fullmatch(text) is not None,
    )


LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
DNS_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"  # the length limit of certificates and resolvers
PORT = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_DNS_NAME = rf"^{DNS_LABEL}(\.{DNS_LABEL})+$"

Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    matching(
        f"^{_SUBDOMAIN}$",
        "write a Kubernetes name: lower-case letters, digits, '-' and '.', such as payments",
    ),
]
NamespaceName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    matching(
        f"^{LABEL}$",
        "write a namespace name: lower-case letters, digits and '-', such as shop",
    ),
]
PortName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=15),
    matching(
        "^[a-z0-9-]*[a-z][a-z0-9-]*$",
        "write a port name: up to 15 lower-case letters, digits and '-', at least one letter, "
        "such as https",
    ),
]


def whole(number: object) -> object:
    """Return 443.0 as 443, which is the same number in JSON."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


PortNumber = Annotated[int, Field(ge=1, le=65535, strict=True), BeforeValidator(whole)]
Count = Annotated[int, Field(ge=0, le=10000, strict=True), BeforeValidator(whole)]
TrustDomainName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    matching(
        _DNS_NAME,
        "write a trust domain as a DNS name of at least two labels in lower case, such as "
        "prod.shop.example",
    ),
]
DNSName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253),
    matching(
        _DNS_NAME,
        "write a full DNS name in lower case without wildcard or trailing dot, such as "
        "pay.shop.example",
    ),
]
Environment = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63),
    matching(
        f"^{LABEL}$",
        "write an environment as lower-case letters, digits and '-', such as production",
    ),
]
Scope = Annotated[
    str,
    StringConstraints(min_length=1, max_length=128),
    # RFC 6749, section 3.3, without characters that need quoting in JSON or a shell
    matching(
        "^[A-Za-z0-9][A-Za-z0-9._:/-]*$",
        "write a scope as letters, digits and . _ : / -, such as payments.charge",
    ),
]
Audience = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    matching(
        "^[A-Za-z0-9][A-Za-z0-9._~:/-]*$",
        "write an audience as a URI or a name, of letters, digits and . _ ~ : / -, such as "
        "https://payments.shop.example",
    ),
    Rule(
        cel="!self.startsWith('spiffe:')",
        message="a SPIFFE ID is not allowed here; leave audience out to use the workload's own",
        holds=lambda text: not text.startswith("spiffe:"),
    ),
]
ContextName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    matching(
        "^[a-z][A-Za-z0-9_]*$",
        "write a context name that begins with a lower-case letter and has only letters, digits "
        "and _, such as channel",
    ),
]
IssuerURL = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255),
    # RFC 8414, section 2: https, no query and no fragment; a host that a certificate can name
    matching(
        rf"^https://{DNS_LABEL}(\.{DNS_LABEL})+(:[1-9][0-9]{{0,4}})?(/[A-Za-z0-9._~-]+)*$",
        "write the issuer as an https URL with a DNS name in lower case, without query, fragment "
        "or trailing slash, such as https://tokens.shop.example",
    ),
]


def has_letters(count: int) -> Callable[[str], bool]:
    """Return the predicate that a text has so many letters of any script in a row.

    Marks belong to the letter before them, as in the rules' CEL.
    """

    def holds(text: str) -> bool:
        run = 0
        for character in text:
            category = unicodedata.category(character)[0]
            run = run + 1 if category == "L" else run if category == "M" else 0
            if run == count:
                return True
        return False

    return holds


Sentence = Annotated[
    str,
    StringConstraints(max_length=512),
    Rule(
        cel=r"self.matches('(\\p{L}\\p{M}*){3}')",
        message="write plain words for the next reader, at least one of three letters or more",
        holds=has_letters(3),
    ),
]
Owner = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512),
    Rule(
        cel=r"self.matches('\\p{L}')",
        message="write who answers for it: a person, a team or an e-mail address, such as "
        "team-payments",
        holds=has_letters(1),
    ),
]


def _is_cidr(text: str) -> bool:
    """Return whether `text` is a network in canonical form, as in the rule's CEL."""
    try:
        network = ip_network(text, strict=True)
    except ValueError:
        return False
    # CEL rejects IPv4-mapped IPv6 networks, and Python spells them in two ways
    mapped = isinstance(network, IPv6Network) and network.network_address.ipv4_mapped is not None
    return "/" in text and "%" not in text and str(network) == text and not mapped


CIDR = Annotated[
    str,
    StringConstraints(min_length=1, max_length=49),
    Rule(
        # Kubernetes 1.31 gives `==` of two networks an unlimited cost, and rejects the CRD.
        cel="isCIDR(self) && string(cidr(self).masked()) == self",
        message="write a network in canonical CIDR form with no host bits set, such as "
        "203.0.113.0/24",
        holds=_is_cidr,
    ),
]


def unique_by(cel_key: str, key: Any, message: str) -> Rule:  # noqa: ANN401 - any key function
    """Return the rule that the items of a list have unique keys.

    `cel_key` is the key of the item `x` in CEL, such as `x.port`; `key` is the same in Python.
    """
    other = cel_key.replace("x.", "y.") if "x." in cel_key else "y"
    return Rule(
        cel=f"self.all(x, self.exists_one(y, {cel_key} == {other}))",
        message=message,
        holds=lambda items: len({key(item) for item in items}) == len(items),
    )
