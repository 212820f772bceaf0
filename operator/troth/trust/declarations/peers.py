"""Peers that one identity declares."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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
            ports[peer] = ports.get(peer, frozenset()).union(named)
    return ports


@dataclass(frozen=True, slots=True)
class Declared:
    """Peers that an identity declares: those it accepts, those it calls, and a trusted gateway."""

    accepts: Ports
    calls: Ports
    names: frozenset[Ref]

    @classmethod
    def by(cls, identity: ServiceIdentity) -> Self:
        """Return the declared peers of an identity."""
        accepts, calls = accepted(identity), called(identity)
        trust = identity.spec.authentication.gateway_only
        gateways = {trust.gateway.seen_from(identity.ref.namespace)} if trust else set()
        return cls(accepts, calls, frozenset(gateways.union(accepts, calls)))


NO_PEERS = Declared({}, {}, frozenset())
