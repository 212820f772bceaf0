"""Generations of a client's connections.

A connection presents one certificate for its lifetime, and a token is bound to a certificate.
Therefore connections belong to the files with which they were made. When the files change, new
requests use a new generation, and the old one ends with its last request. Token and connection
always come from the same generation.
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
from troth.pki.encodings.pem import read_certificates
from troth.pki.errors import PKIError
from troth.pki.tokens.signing import MAX_LIFETIME, certificate_thumbprint

C = TypeVar("C")
"""Sender of requests that a library creates from a TLS context."""

_LOG = logging.getLogger(__name__)
_ATTEMPTS = 3
_KEPT = MAX_LIFETIME.total_seconds()


@dataclass(slots=True, eq=False)
class Generation(Generic[C]):
    """Connections that present one certificate and trust one set of roots."""

    snapshot: Snapshot
    thumbprint: str | None
    contexts: Mapping[Expected, SSLContext]
    connections: dict[Expected, C] = field(default_factory=dict)
    in_use: int = 0
    replaced: float | None = None


class Generations(Generic[C]):
    """The generations of one client: the current one, the previous one, and those still in use.

    `connect` turns a context into a sender of requests, once for each generation and server. The
    caller closes the senders that `take` and `give_back` return. The previous generation is kept
    for the maximum lifetime of a token, in case the issuer is unavailable when the certificate
    changes.
    """

    def __init__(
        self,
        identity: Identity,
        servers: Callable[[Snapshot], Iterable[tuple[Expected, bool]]],
        connect: Callable[[SSLContext], C],
    ) -> None:
        """Create the generations without reading any file.

        `servers` returns the servers of a snapshot, and whether each server sees its certificate.
        """
        self._identity = identity
        self._servers = servers
        self._connect = connect
        self._lock = threading.Lock()
        self._current: Generation[C] | None = None
        self._before: Generation[C] | None = None
        self._unusable: Snapshot | None = None

    def take(self) -> tuple[Generation[C], list[C]]:
        """Return the current generation, with one more use, and the senders to close."""
        with self._lock:
            done = self._renew(self._identity.current)
            assert self._current is not None
            self._current.in_use += 1
            return self._current, done

    def before(self, generation: Generation[C]) -> Generation[C] | None:
        """Return the previous generation, None if `generation` is not the current one."""
        with self._lock:
            return self._before if generation is self._current else None

    def use(self, generation: Generation[C]) -> bool:
        """Add a use to a generation; return False if it has ended meanwhile."""
        with self._lock:
            kept = generation is self._current or generation is self._before
            generation.in_use += kept
            return kept

    def connection(self, generation: Generation[C], expected: Expected) -> C:
        """Return a generation's sender of requests to a server."""
        with self._lock:
            if expected not in generation.connections:
                generation.connections[expected] = self._connect(generation.contexts[expected])
            return generation.connections[expected]

    def give_back(self, generation: Generation[C]) -> list[C]:
        """End one use; return the senders to close."""
        with self._lock:
            generation.in_use -= 1
            kept = generation is self._current or generation is self._before
            return [] if kept else _ended(generation)

    def close(self) -> list[C]:
        """Return all remaining senders, which the caller closes."""
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
            # the files are being replaced; the next request checks them again
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
    """Create all contexts of a snapshot from the same files.

    TLS reads certificate and key by their paths, and the kubelet may replace them in between.
    Therefore the certificate is compared before and after, and must be the same. It may be newer
    than the snapshot's, and is then used.
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
