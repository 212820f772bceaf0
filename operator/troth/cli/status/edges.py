"""Edges in a status report, as the statuses of both of their sides have them.

An identity does not list all edges that only its peers declare, but these peers do. So the statuses
of all identities together have every edge, except where one of them is full.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import NamedTuple

from troth.cli.status.models import EdgeSummary, Entry, status_of
from troth.resources.identity.status import Direction, EdgeState
from troth.resources.manifests import Manifest
from troth.resources.references import Ref
from troth.resources.schema.scalars import LABEL

_IDENTITY = re.compile(rf"{LABEL}/{LABEL}")


class ReportedEdge(NamedTuple):
    """An entry of a status: a caller, a callee, some of its ports, and their state."""

    caller: str
    callee: str
    ports: tuple[str, ...]
    state: str
    reason: str = ""
    message: str = ""

    @property
    def is_live(self) -> bool:
        """Whether it is open."""
        return self.state == EdgeState.LIVE.value

    @property
    def sides(self) -> list[tuple[str, str, str]]:
        """Caller, callee and port of each of its edges."""
        return [(self.caller, self.callee, port) for port in self.ports]

    @property
    def entry(self) -> Entry:
        """What to do about an edge that is not open."""
        ports = f":{','.join(self.ports)}" if self.ports else ""
        what = f"{self.caller} → {self.callee}{ports}"
        return Entry(what=what, reason=self.reason or self.state, message=self.message)


def reported_by(identity: Manifest) -> Iterator[ReportedEdge]:
    """Yield the edges in the status of an identity."""
    me = str(Ref.of(identity))
    for edge in status_of(identity).get("edges") or []:
        inbound = edge.get("direction") == Direction.INBOUND.value
        caller, callee = (edge["peer"], me) if inbound else (me, edge["peer"])
        yield ReportedEdge(
            caller,
            callee,
            tuple(edge.get("ports") or ()),
            edge.get("state", ""),
            edge.get("reason") or "",
            edge.get("message") or "",
        )


def live_edges(identity: Manifest) -> Iterator[ReportedEdge]:
    """Yield the live edges with other identities in the status of one.

    Unverified peers are exceptions from authentication, and no edges with an identity.
    """
    for edge in reported_by(identity):
        if edge.is_live and all(map(_IDENTITY.fullmatch, (edge.caller, edge.callee))):
            yield edge


def not_live(shown: Iterable[Manifest], identities: Iterable[Manifest]) -> list[tuple[str, Entry]]:
    """Return state and entry of each edge of the shown identities that is not live.

    Both sides may report a port of an edge, and one status may be older. The status of a shown
    identity takes precedence, of two that of the callee.
    """
    names = {str(Ref.of(each)) for each in shown}
    reports = [
        (me not in names, me != edge.callee, me, edge)
        for identity in identities
        for me in [str(Ref.of(identity))]
        for edge in reported_by(identity)
        if not names.isdisjoint((edge.caller, edge.callee))
    ]
    found: dict[str, tuple[str, Entry]] = {}
    reporters: dict[tuple[str, str, str], str] = {}
    for *_, me, edge in sorted(reports, key=lambda report: report[:2]):
        pair = edge.caller, edge.callee
        ports = [each for each in edge.ports if reporters.setdefault((*pair, each), me) == me]
        is_first = reporters.setdefault((*pair, ""), me) == me
        if not edge.is_live and (ports or (is_first and not edge.ports)):
            entry = edge._replace(ports=tuple(ports)).entry
            found[entry.what] = edge.state, entry
    return list(found.values())


def edge_summary(identity: Manifest, identities: Iterable[Manifest]) -> EdgeSummary:
    """Return the edges of one identity, from the statuses of all that could be read."""
    identities = list(identities)
    me, own = str(Ref.of(identity)), list(reported_by(identity))
    known = {side for edge in own for side in edge.sides}
    others = {
        side: edge.is_live
        for edge in chain.from_iterable(map(reported_by, identities))
        for side in edge.sides
        if me in side and side not in known
    }
    unlisted = status_of(identity).get("unlistedEdges") or 0
    return EdgeSummary(
        live=sum(len(edge.ports) for edge in live_edges(identity)) + sum(others.values()),
        closed=tuple(entry for _, entry in not_live([identity], identities)),
        unlisted=max(0, unlisted - len(others)),
    )
