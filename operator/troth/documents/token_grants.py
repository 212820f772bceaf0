"""The grants of tokens (`view.json.gz`), which the operator writes and the issuer reads.

The issuer reads them strictly, although the operator writes them. If one part is invalid, it
rejects the whole.
"""

import gzip
import zlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass

from troth.documents.workload_id import WorkloadID
from troth.pki.spiffe import check_trust_domain
from troth.pki.tokens.signing import MAX_LIFETIME, MAX_TEXT, is_text, parse_scopes
from troth.resources.schema.bounded_json import read_json

FILE = "view.json.gz"
"""Key of the Secret's data."""
VERSION = "v1alpha1"
MOST = 900_000
"""Maximum bytes of compressed grants. A Secret holds 1 MiB, keys and bundle included."""
LONGEST = 32 * 1024 * 1024
"""Maximum bytes of uncompressed grants.

Neither the issuer nor the operator decompresses more, because foreign data may expand without
limit. Repetitive grants reach this limit long before `MOST`. One identity takes about 300 bytes.
"""
CurrentGrants = Mapping[str, Mapping[str, Any]]
"""Stored grants by caller, which have not been checked."""
_MOST_SECONDS = int(MAX_LIFETIME.total_seconds())
_WITH_GZIP_HEADER = 16 + zlib.MAX_WBITS


class ConfigurationError(ValueError):
    """Grants, or the keys with them, cannot be used. The text quotes nothing of them."""


def _https(text: str) -> str:
    url = urlsplit(text)
    if url.scheme != "https" or not url.hostname or url.query or url.fragment or url.username:
        raise ValueError("is not an https URL of an issuer")  # RFC 8414 section 2
    return text


@lru_cache(maxsize=4096)  # a few scopes repeat
def _scope(text: str) -> str:
    if parse_scopes(text) != frozenset({text}):
        raise ValueError("is not a scope")
    return text


def _word(text: str) -> str:
    if not is_text(text):
        raise ValueError("is not a short text")
    return text


Scope = Annotated[str, Field(min_length=1, max_length=MAX_TEXT), AfterValidator(_scope)]
Word = Annotated[str, AfterValidator(_word)]
Seconds = Annotated[int, Field(ge=1, le=_MOST_SECONDS)]


class _Part(BaseModel):
    model_config = ConfigDict(
        frozen=True, strict=True, alias_generator=to_camel, hide_input_in_errors=True
    )


@dataclass(frozen=True, slots=True, config=ConfigDict(strict=True, hide_input_in_errors=True))
class Audience:
    """What a caller may have for one audience: scopes, and a maximum lifetime in seconds.

    There is one object for each edge, so it is a dataclass: a model would take twice the memory.
    """

    scopes: frozenset[Scope]
    lifetime: Seconds


class Starting(_Part):
    """Scopes with which a caller may start transactions, and context names other than `tenant`."""

    scopes: frozenset[Scope]
    context: frozenset[Word]


class Caller(_Part):
    """The grants of one workload. Without audiences, it may still replace a transaction token."""

    audiences: dict[Annotated[str, Field(min_length=1, max_length=2048)], Audience]
    starts_transactions: Starting | None = None


class TokenGrants(_Part):
    """The grants of all callers in one trust domain."""

    version: Literal["v1alpha1"]
    trust_domain: Annotated[str, AfterValidator(check_trust_domain)]
    issuer: Annotated[str, AfterValidator(_https)]
    max_lifetime: Seconds
    callers: dict[WorkloadID, Caller]

    @model_validator(mode="after")
    def _keep_to_one_domain(self) -> Self:
        inside = f"spiffe://{self.trust_domain}/"
        if not all(caller.startswith(inside) for caller in self.callers):
            raise ValueError("names a caller of another trust domain")
        return self


def read_grants(compressed: bytes) -> TokenGrants:
    """Return the grants in `view.json.gz`; raises `ConfigurationError`."""
    try:
        return TokenGrants.model_validate_json(_decompressed(compressed))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"][:1])
        message = f"the issuer configuration is invalid: {where} ({first['type']})"
        raise ConfigurationError(message) from None


def _decompressed(data: bytes) -> bytes:
    """Return decompressed grants, never holding more than `LONGEST` bytes.

    Raises `ConfigurationError`.
    """
    inflating = zlib.decompressobj(_WITH_GZIP_HEADER)
    try:
        whole = inflating.decompress(data, LONGEST + 1)
    except zlib.error:
        raise ConfigurationError(
            "the issuer configuration is not compressed with gzip, or is damaged"
        ) from None
    if len(whole) > LONGEST:
        raise ConfigurationError(f"the issuer configuration is longer than {LONGEST} bytes")
    if not inflating.eof or inflating.unused_data:
        raise ConfigurationError("the issuer configuration is truncated, or has trailing data")
    return whole


def compress(text: bytes) -> bytes:
    """Return grants as the Secret has them. Equal texts give equal bytes."""
    return gzip.compress(text, compresslevel=6, mtime=0)


def current_callers(grants: bytes) -> CurrentGrants:
    """Return the callers in compressed grants, none if these cannot be read."""
    try:
        document = read_json(_decompressed(grants), LONGEST)
    except ValueError:
        return {}
    callers = document.get("callers") if isinstance(document, dict) else None
    if not isinstance(callers, dict):
        return {}
    return {name: entry for name, entry in callers.items() if isinstance(entry, dict)}
