"""Peers that one identity declares."""

from collections.abc import Iterable, Mapping

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
