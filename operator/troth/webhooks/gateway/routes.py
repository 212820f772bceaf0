"""Served endpoints by their exact raw path.

Paths are compared byte for byte with the request line. Another spelling (`%2F`, `//`, `/./`) is a
different path, which does not exist.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from troth.documents.webhook_endpoint import (
    DOCUMENT,
    KEY_PREFIX,
    Endpoint,
    EndpointError,
    parse_endpoint,
)
from troth.resources.webhooks.names import LARGEST_BODY, size_in_bytes
from troth.resources.webhooks.schemes import LONGEST_BODY, SchemeName
from troth.webhooks.gateway.connection.source import Admission
from troth.webhooks.gateway.limits import Bucket
from troth.webhooks.schemes.registry import scheme_for
from troth.webhooks.schemes.scheme import LONGEST_KEY, Key, KeyFormatError, Scheme

MOST_KEYS = 16


@dataclass(frozen=True, slots=True)
class Served:
    """Endpoint that the gateway serves."""

    endpoint: Endpoint
    scheme: Scheme
    keys: tuple[Key, ...]
    admission: Admission = field(repr=False)
    bucket: Bucket = field(repr=False)
    longest_body: int
    """Maximum size of a body in bytes, even if the document allows more than the scheme."""


def served(data: Mapping[str, bytes], workers: int = 1) -> Served:
    """Return the endpoint of a Secret's (decoded) data; raises `EndpointError`.

    Each of several workers has its share of the rate limit.

    A partly readable endpoint is not served: without an unreadable key, it would reject senders
    that its status lists.
    """
    document = data.get(DOCUMENT)
    if document is None:
        raise EndpointError(f"{DOCUMENT} is missing")
    endpoint = parse_endpoint(document)
    try:
        scheme = scheme_for(endpoint.signing)
    except ValueError as error:
        raise EndpointError(f"signing: {error}") from None
    names = [name for name in data if name.startswith(KEY_PREFIX)]
    if len(names) > MOST_KEYS:
        raise EndpointError(f"it has more than {MOST_KEYS} keys")
    keys = tuple(
        _key(scheme, name.removeprefix(KEY_PREFIX), data[name])
        for name in sorted(names, key=_age, reverse=True)
    )
    suspended = endpoint.target is None  # perhaps because its keys were revoked
    if not keys and not suspended and endpoint.signing.name is not SchemeName.SNS:
        raise EndpointError("it has no key")
    return Served(
        endpoint,
        scheme,
        keys,
        Admission(endpoint.source),
        Bucket(endpoint.limits.requests_per_second / workers),
        min(endpoint.limits.body, _largest(endpoint.signing.name)),
    )


def _largest(scheme: SchemeName) -> int:
    return size_in_bytes(LONGEST_BODY.get(scheme, LARGEST_BODY))


def _age(name: str) -> list[str | int]:
    """Return a sort key that puts the newest of Troth's keys last: k10 is newer than k2.

    While a sender signs with two keys, the first match is reported, and a rotation waits for the
    newest.
    """
    return [int(part) if part.isdecimal() else part for part in re.split("([0-9]+)", name)]


def _key(scheme: Scheme, key_id: str, text: bytes) -> Key:
    if len(text) > LONGEST_KEY:
        raise EndpointError(f"{KEY_PREFIX}{key_id}: it is larger than {LONGEST_KEY} bytes")
    try:
        return scheme.key(key_id, text)
    except KeyFormatError as error:
        raise EndpointError(f"{KEY_PREFIX}{key_id}: {error}") from None


class Routes:
    """Table of the served endpoints. A running request keeps the entry that it found."""

    def __init__(self) -> None:
        self._by_path: dict[bytes, Served] = {}
        self._by_name: dict[str, Served] = {}

    def put(self, name: str, served: Served | None) -> None:
        """Set or remove the entry of an endpoint.

        `name` is the name of the endpoint's Secret; it stays the same if the path changes. Raises
        `EndpointError` if another entry has the path. In that case, both that entry and the
        previous entry of this name stay.
        """
        before = self._by_name.get(name)
        path = served.endpoint.path.encode() if served is not None else b""
        holder = self._by_path.get(path)
        if served is not None and holder is not None and holder is not before:
            raise EndpointError("path: another endpoint uses it")
        if before is not None:
            del self._by_name[name]
            del self._by_path[before.endpoint.path.encode()]
        if served is not None:
            if before is not None and before.bucket.rate == served.bucket.rate:
                # otherwise each new version would allow another burst
                served = replace(served, bucket=before.bucket)
            self._by_name[name] = self._by_path[path] = served

    def find(self, raw_path: bytes) -> Served | None:
        """Return the endpoint at a raw path."""
        return self._by_path.get(raw_path)

    def authorities(self) -> frozenset[str]:
        """Return the roots of all pinned client certificates, in PEM."""
        pinned = (served.endpoint.source.client_certificate for served in self)
        return frozenset(each.authorities for each in pinned if each is not None)

    def __iter__(self) -> Iterator[Served]:
        return iter(tuple(self._by_name.values()))

    def __len__(self) -> int:
        return len(self._by_name)
