"""Reads the credentials in a request's headers, and removes them for the application.

Anybody can write a header that names an identity, so headers with such a name (`identity_headers`)
do not reach the application. It gets verified identities as a `Caller`. A header that the
application allows reaches it under a name that says unverified.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from troth.edge.inbound.identity_headers import UNVERIFIED, claims_identity, spelled

Headers = list[tuple[bytes, bytes]]

_MOST_KNOWN = 4096
_LONGEST_KNOWN = 64


# Codes for the handling of a header; plain numbers, because this runs for every header.
_KEEP, _DROP, _RENAME, _PARENT, _STATE, _TRANSACTION, _FORWARDED = range(7)
_AUTHORIZATION, _LIKE_AUTHORIZATION = range(7, 9)
_TRACES = frozenset({_PARENT, _STATE})
_AUTHORIZATIONS = frozenset({_AUTHORIZATION, _LIKE_AUTHORIZATION})

# The correct spellings, in lower case. All others are removed without being read.
_READ = {
    b"traceparent": _PARENT,
    b"tracestate": _STATE,
    b"txn-token": _TRANSACTION,
    b"x-forwarded-client-cert": _FORWARDED,
    b"authorization": _AUTHORIZATION,
}


class Presented(NamedTuple):
    """What a request presents: the values of each header in their order.

    `headers` are the headers for the application. `distinct` is False if the server has joined
    headers with equal or similar names, so that one value may come from several headers.
    """

    headers: Headers
    authorization: Sequence[bytes] = ()
    transaction: Sequence[bytes] = ()
    forwarded: Sequence[bytes] = ()
    parents: Sequence[bytes] = ()
    states: Sequence[bytes] = ()
    distinct: bool = True

    def __repr__(self) -> str:
        return f"Presented({len(self.headers)} headers)"


class Stripping:
    """The headers to remove, and those that the application gets under another name."""

    def __init__(self, also: Iterable[str] = (), allow: Iterable[str] = ()) -> None:
        """Create a filter.

        `also` names additional headers to remove, and `allow` identity headers to rename, both in
        any spelling. Raises `ValueError` for a header that cannot be allowed.
        """
        self._names = frozenset(spelled(name.encode("ascii")) for name in also)
        self._allowed = frozenset(spelled(name.encode("ascii")) for name in allow)
        self._kinds: dict[bytes, int] = {}
        for name in sorted(self._allowed):
            self._check_allowed(name)

    def _check_allowed(self, name: bytes) -> None:
        text = name.decode("ascii")
        if name in _READ or name.startswith(UNVERIFIED):
            raise ValueError(f"allow: {text} cannot be allowed; Troth reads or makes it itself")
        if name in self._names:
            raise ValueError(f"allow: {text} is in strip as well; remove it from one of them")
        if not claims_identity(name):
            raise ValueError(f"allow: {text} is not an identity header, so it is kept; remove it")

    def read(
        self, headers: Iterable[tuple[bytes, bytes]], *, bearer: bool, distinct: bool = True
    ) -> Presented:
        """Read the headers.

        With `bearer`, the token in `Authorization` is for the guard only, and every spelling of
        that header is removed. Otherwise the header is the application's.
        """
        kinds = self._kinds
        kept: Headers = []
        read: dict[int, list[bytes]] = {}
        for header in headers:
            name, value = header
            kind = kinds[name] if name in kinds else self._kind(name)
            if kind == _KEEP:
                kept.append(header)
            elif kind == _RENAME:
                kept.append((UNVERIFIED + spelled(name), value))
            else:
                if kind in _TRACES or (kind in _AUTHORIZATIONS and not bearer):
                    kept.append(header)
                read.setdefault(kind, []).append(value)
        return Presented(
            kept,
            read.get(_AUTHORIZATION, ()) if bearer else (),
            read.get(_TRANSACTION, ()),
            read.get(_FORWARDED, ()),
            read.get(_PARENT, ()),
            read.get(_STATE, ()),
            distinct,
        )

    def renamed(self, name: bytes, *, bearer: bool) -> bytes | None:
        """Return the name under which the application gets a header; None if it is removed."""
        kind = self._kind(name)
        if kind == _RENAME:
            return UNVERIFIED + spelled(name)
        if kind in _AUTHORIZATIONS:
            return None if bearer else name
        return name if kind == _KEEP or kind in _TRACES else None

    def _kind(self, name: bytes) -> int:
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kind_of(name.lower(), spelled(name))
            # clients choose the names, but usually the same dozen, and short ones
            if len(name) <= _LONGEST_KNOWN and len(self._kinds) < _MOST_KNOWN:
                self._kinds[name] = kind
        return kind

    def _kind_of(self, name: bytes, plain: bytes) -> int:
        if name in _READ:
            return _READ[name]
        if plain == b"authorization":
            return _LIKE_AUTHORIZATION
        if plain in self._allowed:
            return _RENAME
        # another spelling of a header that the guard reads
        if plain in self._names or plain in _READ or claims_identity(plain):
            return _DROP
        return _KEEP
