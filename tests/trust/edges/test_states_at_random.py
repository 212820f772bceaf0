"""The state of every edge, compared with an oracle that judges each edge by itself."""

from datetime import timedelta
from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import (
    HOUR,
    NOW,
    Manifest,
    accept,
    call,
    domain,
    gateway_only,
    identity,
    namespace,
    registry,
    stamp,
)
from tests.oracle import Declared
from tests.strategies import DOMAINS, clusters, half, more, often, sometimes, subset
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.edges.declared import all_edges, edges_of
from troth.trust.edges.evaluation import Edge


def deleted(manifests: list[Manifest], leaving: list[str]) -> list[Manifest]:
    """Return the manifests with some trust domains held by a finalizer after their deletion."""
    held = {"deletionTimestamp": stamp(NOW - HOUR), "finalizers": ["example.com/hold"]}
    return [
        {**each, "metadata": {**each["metadata"], **held}}
        if each["kind"] == "TrustDomain" and each["metadata"]["name"] in leaving
        else each
        for each in manifests
    ]


def expected(edge: Edge, settled: Declared, torn: Declared) -> set[EdgeState]:
    """Return the states that an edge may have."""
    way: Any = (
        (edge.caller.namespace, edge.caller.name),
        (edge.callee.namespace, edge.callee.name),
        edge.port,
    )
    if settled.live(*way):
        return {EdgeState.LIVE}
    if torn.live(*way):
        return {EdgeState.SUSPENDED}
    return {EdgeState.REFUSED, EdgeState.AWAITING_CALLER, EdgeState.AWAITING_CALLEE}


def declared_ways(manifests: list[Manifest]) -> set[tuple[Ref, Ref, str]]:
    """Return caller, callee and port of every edge that an entry of an identity declares."""
    found = set()
    for each in manifests:
        if each["kind"] != "ServiceIdentity":
            continue
        me = Ref(each["metadata"]["namespace"], each["metadata"]["name"])

        def named(reference: Manifest, here: str = me.namespace) -> Ref:
            return Ref(reference.get("namespace", here), reference["name"])

        for entry in each["spec"]["accepts"]:
            if "from" in entry:
                found |= {(named(entry["from"]), me, port) for port in entry["ports"]}
        for entry in each["spec"]["calls"]:
            if "to" in entry:
                found |= {(me, named(entry["to"]), port) for port in entry["ports"]}
    return found


PLACES = (("north", "a"), ("north", "b"), ("south", "c"))


@st.composite
def _namespaces(draw: st.DrawFn, name: str) -> Manifest:
    """Draw a namespace that no domain selects, or one, or red and another."""
    labels = {"domain": draw(st.sampled_from((*DOMAINS, "none", "none")))}
    return namespace(name, **labels | ({"red": "too"} if draw(half) else {}))


@st.composite
def _domains(draw: st.DrawFn, name: str) -> Manifest:
    selected = {"red": "too"} if name == "red" else {"domain": name}
    return domain(
        name,
        environment="prod",
        namespaceSelector={"matchLabels": selected},
        consent="Callee" if draw(half) else "Mutual",
        federatesWith=[{"name": each} for each in DOMAINS if each != name and draw(often)],
        **({"tokens": {}} if draw(often) else {}),
    )


@st.composite
def conflicts(draw: st.DrawFn) -> list[Manifest]:
    """Draw two namespaces that several domains may select, and edges that are mostly declared."""
    manifests = [draw(_namespaces(name)) for name in ("north", "south")]
    manifests += [draw(_domains(name)) for name in DOMAINS]
    edges = [pair for pair in product(PLACES, PLACES) if pair[0] != pair[1]]
    accepted, called = ({pair for pair in edges if draw(often)} for _ in range(2))
    called -= {pair for pair in edges if draw(sometimes)}
    for place in PLACES:
        space, name = place
        authentication: Manifest = draw(st.sampled_from(({"mtls": {}}, {"token": {}})))
        callers = [
            first for first, second in edges if (first, second) in accepted and second == place
        ]
        callees = [
            second for first, second in edges if (first, second) in called and first == place
        ]
        if draw(half) and callers:
            days = draw(st.sampled_from((1, -1, 91)))
            (gateway, *_), callees = callers, []
            until = NOW + timedelta(days=days)
            authentication, callers = gateway_only(gateway[1], until, gateway[0]), [gateway]
        manifests.append(
            identity(
                name,
                space,
                ports=["https"],
                account="shared" if space == "north" and draw(sometimes) else "",
                authentication=authentication,
                accepts=[accept(each[1], namespace=each[0]) for each in callers],
                calls=[call(each[1], namespace=each[0]) for each in callees],
            )
        )
    return manifests


@more(10)
@given(st.one_of(conflicts(), conflicts(), clusters()), st.one_of(st.just([]), subset(DOMAINS)))
def test_every_edge_has_the_state_of_its_own_declarations(
    manifests: list[Manifest], leaving: list[str]
) -> None:
    """A refusal of either side closes it, whatever is unsettled, and no edge is left out."""
    stored = deleted(manifests, leaving)
    known: Registry = registry(*stored)
    edges = all_edges(known, NOW)
    settled, torn = (Declared.by(stored, NOW, suspended_too=each) for each in (False, True))
    wrong = [edge for edge in edges if edge.state not in expected(edge, settled, torn)]
    assert wrong == []
    ways = [(edge.caller, edge.callee, edge.port) for edge in edges]
    assert declared_ways(stored) <= set(ways)
    for ref in known.identities:
        own = {
            (edge.caller, edge.callee, edge.port): edge.state
            for edge in edges
            if ref in {edge.caller, edge.callee}
        }
        # ports that stand together have the state that each would have by itself
        assert own == {
            (each.caller, each.callee, port): each.state
            for each in edges_of(known, ref, NOW)
            for port in each.ports
        }
