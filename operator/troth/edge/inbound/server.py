"""The part of the middleware that WSGI and ASGI share."""

import logging
from collections.abc import Callable, Iterable
from time import time
from typing import NamedTuple

from troth.edge.identity.files import Identity
from troth.edge.inbound.caller import Caller
from troth.edge.inbound.guard import Guard
from troth.edge.inbound.presented import Headers, Stripping
from troth.edge.inbound.refusal import Refusal

_LOG = logging.getLogger("troth.edge")


class GuardedRequest(NamedTuple):
    """A judged request: its caller, None on an exempt path, and the headers for the application."""

    caller: Caller | Refusal | None
    headers: Headers
    bearer: bool


class RequestGuard:
    """Checks requests, logs rejections, and removes identity headers."""

    def __init__(
        self,
        identity: Identity,
        port: str,
        *,
        exempt: Iterable[str] = (),
        strip: Iterable[str] = (),
        allow: Iterable[str] = (),
        clock: Callable[[], float] = time,
    ) -> None:
        """Create a guard for the requests of a server.

        `port` is the port's name in the ServiceIdentity. `exempt` are complete paths that need no
        caller, such as a probe's. `strip` are additional headers to remove. `allow` are identity
        headers that the application gets as `Unverified-…`.
        """
        self._identity = identity
        self._guard = Guard(port)
        self._exempt = frozenset(exempt)
        self.stripping = Stripping(strip, allow)
        self._clock = clock

    def judge(
        self,
        path: str,
        chain: tuple[str, ...],
        headers: Iterable[tuple[bytes, bytes]],
        *,
        distinct: bool = True,
    ) -> GuardedRequest:
        """Check one request; raises `IdentityError` if there has never been an identity."""
        snapshot = self._identity.current
        bearer = snapshot.document.requires.token is not None
        presented = self.stripping.read(headers, bearer=bearer, distinct=distinct)
        if path in self._exempt:
            return GuardedRequest(None, presented.headers, bearer)
        caller = self._guard.judge(snapshot, chain, presented, self._clock())
        if isinstance(caller, Refusal):
            self._log(caller)
        return GuardedRequest(caller, presented.headers, bearer)

    def _log(self, refusal: Refusal) -> None:
        _LOG.warning(
            "rejected %s on port %s: peer %s, request %s",
            refusal.code,
            self._guard.port,
            refusal.peer or "-",
            refusal.request or "-",
        )
