"""What one identity declares of its peers."""

from collections.abc import Iterable, Mapping

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref, Reference

Ports = Mapping[Ref, frozenset[str]]
"""The names of a callee's ports, by the peer that they are declared for."""


def accepted(identity: ServiceIdentity) -> Ports:
    """Return on which of its ports an identity accepts whom."""
    return _by_peer(identity, ((each.from_, each.ports) for each in identity.spec.accepts))


def called(identity: ServiceIdentity) -> Ports:
    """Return whom an identity calls, and on which of their ports."""
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
