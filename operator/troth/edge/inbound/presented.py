"""Reads the credentials in a request's headers, and removes them for the application.

Anybody can write a header that names an identity. A server that treats `_` and `-` alike, as WSGI
does, has two spellings of each. Therefore every spelling of the known headers is removed before the
application sees the request. It gets verified identities as a `Caller`.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

Headers = list[tuple[bytes, bytes]]

_NAMES = frozenset(
    {
        b"x-forwarded-client-cert",
        b"x-forwarded-user",
        b"x-forwarded-email",
        b"x-forwarded-groups",
        b"x-forwarded-preferred-username",
        b"x-remote-user",
        b"remote-user",
        b"txn-token",
    }
)
_BEGINNINGS = (b"x-user", b"x-tenant", b"x-auth-request-")
_MOST_KNOWN = 4096


# Codes for the handling of a header; plain numbers, because this runs for every header.
_KEEP, _DROP, _PARENT, _STATE, _TRANSACTION, _FORWARDED, _AUTHORIZATION, _LIKE_AUTHORIZATION = (
    range(8)
)
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
    """The headers to remove: the known ones, and additional ones."""

    def __init__(self, also: Iterable[str] = ()) -> None:
        """Create a filter.

        `also` names additional headers, in any spelling. The known ones are always removed.
        """
        self._names = _NAMES | {_spelled(name.encode("ascii")) for name in also}
        self._kinds: dict[bytes, int] = {}

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

    def drops(self, name: bytes, *, bearer: bool) -> bool:
        """Return whether a header of this name is removed."""
        kind = self._kind(name)
        return bearer if kind in _AUTHORIZATIONS else kind != _KEEP and kind not in _TRACES

    def _kind(self, name: bytes) -> int:
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kind_of(name.lower(), _spelled(name))
            # clients choose the names, but usually the same dozen
            if len(self._kinds) < _MOST_KNOWN:
                self._kinds[name] = kind
        return kind

    def _kind_of(self, name: bytes, spelled: bytes) -> int:
        if name in _READ:
            return _READ[name]
        if spelled == b"authorization":
            return _LIKE_AUTHORIZATION
        if spelled in self._names or spelled.startswith(_BEGINNINGS):
            return _DROP
        return _KEEP


def _spelled(name: bytes) -> bytes:
    return name.lower().replace(b"_", b"-")
