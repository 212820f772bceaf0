"""The generations of a client's connections.

A connection shows one certificate for as long as it lives, and a token is bound to a certificate.
So a client's connections belong to the files they were made with: when those change, a new
generation begins that every new request uses, and the old one ends when its last request has. Token
and connection are always taken from one generation.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from ssl import SSLContext
from time import monotonic
from typing import Generic, TypeVar

from cryptography.hazmat.primitives.serialization import Encoding

from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import Snapshot
from troth.edge.outbound.servers import Expected, client_context
from troth.pki.errors import PKIError
from troth.pki.pem import read_certificates
from troth.pki.tokens import MAX_LIFETIME, certificate_thumbprint

C = TypeVar("C")
"""What a library makes of a TLS context to send requests with."""

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 3
_KEPT = MAX_LIFETIME.total_seconds()


@dataclass(slots=True, eq=False)
class Generation(Generic[C]):
    """Connections that show one certificate and believe one set of roots."""

    snapshot: Snapshot
    thumbprint: str | None
    contexts: Mapping[Expected, SSLContext]
    connections: dict[Expected, C] = field(default_factory=dict)
    in_use: int = 0
    replaced: float | None = None


class Generations(Generic[C]):
    """The generations of one client: the current one, the one before, and those that still end.

    `connect` makes of a context what sends requests; it is called once for each generation and
    server. What `take` and `give_back` return to be closed is closed by the caller, who knows how.
    The one before is kept for as long as a token can live, for a client whose issuer is away just
    when its certificate changes.
    """

    def __init__(
        self,
        identity: Identity,
        servers: Callable[[Snapshot], Iterable[tuple[Expected, bool]]],
        connect: Callable[[SSLContext], C],
    ) -> None:
        """`servers` says whom a snapshot names, and to which of them its certificate is shown."""
        self._identity = identity
        self._servers = servers
        self._connect = connect
        self._lock = threading.Lock()
        self._current: Generation[C] | None = None
        self._before: Generation[C] | None = None
        self._unusable: Snapshot | None = None

    def take(self) -> tuple[Generation[C], list[C]]:
        """Return the current generation, in use by one more, and what is to be closed."""
        with self._lock:
            done = self._renew(self._identity.current)
            assert self._current is not None
            self._current.in_use += 1
            return self._current, done

    def before(self, generation: Generation[C]) -> Generation[C] | None:
        """Return the generation before, if this is the current one and there is one before."""
        with self._lock:
            return self._before if generation is self._current else None

    def use(self, generation: Generation[C]) -> bool:
        """Have a generation in use by one more; False if it has ended meanwhile."""
        with self._lock:
            kept = generation is self._current or generation is self._before
            generation.in_use += kept
            return kept

    def connection(self, generation: Generation[C], expected: Expected) -> C:
        """Return what sends requests to a server of a generation."""
        with self._lock:
            if expected not in generation.connections:
                generation.connections[expected] = self._connect(generation.contexts[expected])
            return generation.connections[expected]

    def give_back(self, generation: Generation[C]) -> list[C]:
        """End one use; return what is to be closed."""
        with self._lock:
            generation.in_use -= 1
            kept = generation is self._current or generation is self._before
            return [] if kept else _ended(generation)

    def close(self) -> list[C]:
        """Return all that is to be closed at the end."""
        with self._lock:
            kept = [each for each in (self._current, self._before) if each is not None]
            self._current = self._before = None
            return [each for generation in kept for each in generation.connections.values()]

    def _renew(self, snapshot: Snapshot) -> list[C]:
        now = monotonic()
        done: list[C] = []
        before = self._before
        if before is not None and before.replaced is not None and now > before.replaced + _KEPT:
            self._before, done = None, _ended(before)
        current = self._current
        if current is not None and current.snapshot is snapshot:
            return done
        try:
            made: Generation[C] = _generation(snapshot, self._servers(snapshot))
        except (OSError, ValueError, PKIError) as error:
            if current is None:
                raise
            # The files are being replaced at this moment; the next request looks again.
            if snapshot is not self._unusable:
                _LOG.warning("The new files of this identity cannot be used yet: %s", error)
            self._unusable = snapshot
            return done
        if current is not None:
            current.replaced = now
            self._before, ended = current, self._before
            done += _ended(ended) if ended is not None else []
        self._current = made
        return done


def _ended(generation: Generation[C]) -> list[C]:
    if generation.in_use:
        return []
    done = list(generation.connections.values())
    generation.connections.clear()
    return done


def _generation(snapshot: Snapshot, servers: Iterable[tuple[Expected, bool]]) -> Generation[C]:
    """Make all contexts of a snapshot from the same files.

    TLS reads certificate and key by their paths, and the kubelet may replace them in between: so
    the certificate is looked at before and after, and must be the same. It may be a newer one than
    the snapshot's, and then counts.
    """
    wanted = list(servers)
    for _ in range(_ATTEMPTS):
        thumbprint = _thumbprint(snapshot)
        pair = (snapshot.tls_crt, snapshot.tls_key) if thumbprint else None
        contexts = {
            expected: client_context(snapshot.anchors, expected, pair if shown else None)
            for expected, shown in wanted
        }
        if thumbprint == _thumbprint(snapshot):
            return Generation(snapshot, thumbprint, contexts)
    raise OSError("tls.crt changes during every read")


def _thumbprint(snapshot: Snapshot) -> str | None:
    if snapshot.certificate_thumbprint is None:
        return None
    leaf, *_ = read_certificates(snapshot.tls_crt.read_bytes(), "tls.crt")
    return certificate_thumbprint(leaf.public_bytes(Encoding.DER))
