"""Narrowings of `identity.json` that are not written yet, as the status of an identity has them."""

from collections.abc import Iterator

from troth.resources.identity.spec import ServiceIdentity
from troth.resources.identity.status import Direction
from troth.resources.references import Ref
from troth.trust.declarations.narrowing import Narrowing
from troth.trust.edges.evaluation import CALLEE_NOT_NARROWED, CALLER_NOT_NARROWED


def reported_narrowing(identity: ServiceIdentity) -> Narrowing:
    """Return the edges that a status reports as closed until the document is narrowed."""
    return Narrowing(
        callers=frozenset(_closed(identity, Direction.INBOUND, CALLEE_NOT_NARROWED)),
        callees=frozenset(_closed(identity, Direction.OUTBOUND, CALLER_NOT_NARROWED)),
    )


def _closed(identity: ServiceIdentity, direction: Direction, reason: str) -> Iterator[Ref]:
    for edge in identity.status.edges:
        if (edge.direction, edge.reason) == (direction, reason):
            yield Ref.parse(edge.peer)
