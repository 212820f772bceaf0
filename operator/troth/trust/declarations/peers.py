"""Peers that one identity declares."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref, Reference

Ports = Mapping[Ref, frozenset[str]]
"""Names of the callee's ports, by peer."""


def accepted(identity: ServiceIdentity) -> Ports:
    """Return the peers that an identity accepts, each with the identity's ports."""
    return _by_peer(identity, ((each.from_, each.ports) for each in identity.spec.accepts))


def called(identity: ServiceIdentity) -> Ports:
    """Return the peers that an identity calls, each with the peer's ports."""
    return _by_peer(identity, ((each.to, each.ports) for each in identity.spec.calls))


def _by_peer(
    identity: ServiceIdentity, declared: Iterable[tuple[Reference | None, tuple[str, ...]]]
) -> Ports:
    ports: dict[Ref, frozenset[str]] = {}
    for reference, named in declared:
        if reference is not None:
            peer = reference.seen_from(identity.ref.namespace)
            ports[peer] = _port_names((*ports.get(peer, ()), *named))
    return ports


# Peers mostly have the same few ports, and a set takes 200 bytes.
@lru_cache(maxsize=1024)
def _port_names(names: tuple[str, ...]) -> frozenset[str]:
    return frozenset(names)


@dataclass(frozen=True, slots=True)
class Declared:
    """Peers that an identity declares: those it accepts, those it calls, and a trusted gateway."""

    accepts: Ports
    calls: Ports
    gateway: Ref | None = None

    @classmethod
    def by(cls, identity: ServiceIdentity) -> Self:
        """Return the declared peers of an identity."""
        trust = identity.spec.authentication.gateway_only
        gateway = trust.gateway.seen_from(identity.ref.namespace) if trust else None
        return cls(accepted(identity), called(identity), gateway)

    @property
    def names(self) -> frozenset[Ref]:
        """All declared peers."""
        gateways = () if self.gateway is None else (self.gateway,)
        return frozenset((*self.accepts, *self.calls, *gateways))


NO_PEERS = Declared({}, {})
