"""Reads the operator's view for the issuer: who may have which tokens (`view.json.gz`).

The parser is strict although the operator writes the view. A view with one invalid part is rejected
as a whole.
"""

import zlib
from functools import lru_cache
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass

from troth.pki.spiffe import SPIFFEID, check_trust_domain
from troth.pki.tokens.signing import MAX_LIFETIME, MAX_TEXT, is_text, parse_scopes

LONGEST = 32 * 1024 * 1024
"""Maximum size of a view in bytes. One identity takes about 300, and the compressed view must fit
in a Secret.
"""
_MOST_SECONDS = int(MAX_LIFETIME.total_seconds())
_WITH_GZIP_HEADER = 16 + zlib.MAX_WBITS


class ViewError(ValueError):
    """A view, or the keys with it, cannot be used. The text quotes nothing of it."""


def _workload(text: str) -> str:
    if not SPIFFEID.parse(text).path:
        raise ValueError("names no workload")
    return text


def _https(text: str) -> str:
    url = urlsplit(text)
    if url.scheme != "https" or not url.hostname or url.query or url.fragment or url.username:
        raise ValueError("is not an https URL of an issuer")  # RFC 8414 section 2
    return text


@lru_cache(maxsize=4096)  # a view repeats a few scopes
def _scope(text: str) -> str:
    if parse_scopes(text) != frozenset({text}):
        raise ValueError("is not a scope")
    return text


def _word(text: str) -> str:
    if not is_text(text):
        raise ValueError("is not a short text")
    return text


Workload = Annotated[str, AfterValidator(_workload)]
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


class View(_Part):
    """The grants of all callers in one trust domain."""

    version: Literal["v1alpha1"]
    trust_domain: Annotated[str, AfterValidator(check_trust_domain)]
    issuer: Annotated[str, AfterValidator(_https)]
    max_lifetime: Seconds
    callers: dict[Workload, Caller]

    @model_validator(mode="after")
    def _keep_to_one_domain(self) -> Self:
        inside = f"spiffe://{self.trust_domain}/"
        if not all(caller.startswith(inside) for caller in self.callers):
            raise ValueError("names a caller of another trust domain")
        return self


def read_view(compressed: bytes) -> View:
    """Return the view in `view.json.gz`; raises `ViewError`."""
    try:
        return View.model_validate_json(_decompressed(compressed))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(step) for step in first["loc"][:1])
        raise ViewError(f"the issuer configuration is invalid: {where} ({first['type']})") from None


def _decompressed(data: bytes) -> bytes:
    """Return a decompressed view, never holding more than `LONGEST` bytes; raises `ViewError`."""
    inflating = zlib.decompressobj(_WITH_GZIP_HEADER)
    try:
        whole = inflating.decompress(data, LONGEST + 1)
    except zlib.error:
        raise ViewError(
            "the issuer configuration is not compressed with gzip, or is damaged"
        ) from None
    if len(whole) > LONGEST:
        raise ViewError(f"the issuer configuration is longer than {LONGEST} bytes")
    if not inflating.eof or inflating.unused_data:
        raise ViewError("the issuer configuration is truncated, or has trailing data")
    return whole
