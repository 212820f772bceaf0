"""Edges of an identity. Whatever an unaccepted caller declares costs one check for each reason."""

from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given

from tests import builders
from tests.builders import NOW, Manifest, accept, call, domain, identity, namespace
from tests.strategies import clusters
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.edges.candidate import EdgeCandidate
from troth.trust.edges.declared import edges_of
from troth.trust.edges.evaluation import Edge, evaluate

SHOP = [namespace("shop", domain="production"), domain()]
MANY = [f"p{number}" for number in range(1024)]
"""As many ports as 64 entries of `calls` can name."""


def crowd(number: int, callee: str = "payments") -> list[Manifest]:
    """Return identities of another namespace that call every port of a callee."""
    calls = [call(callee, *MANY[at : at + 16], namespace="shop") for at in range(0, 1024, 16)]
    return [identity(f"stranger-{each}", "tenant", calls=calls) for each in range(number)]


def judged(ref: Ref, *manifests: Manifest) -> tuple[list[EdgeCandidate], tuple[Edge, ...]]:
    """Return the candidates that an identity's plan evaluates, and its edges."""
    candidates = []

    def noted(candidate: EdgeCandidate) -> Edge:
        candidates.append(candidate)
        return evaluate(candidate)

    registry = builders.registry(*SHOP, *manifests)
    return candidates, edges_of(registry, ref, NOW, noted)


def test_caller_that_is_not_accepted_is_one_candidate_whatever_it_calls() -> None:
    mine = identity(ports=["p3", ("https", 443)], accepts=[accept("web", "p3")])
    candidates, edges = judged(Ref("shop", "payments"), mine, *crowd(3))
    assert len(candidates) == 1 + 2 * 3  # the declared port, and the others
    assert {len(edge.ports) for edge in edges} == {1, 1023}
    assert {edge.reason for edge in edges} == {"PeerMissing", "NotAccepted", "PortUndeclared"}


def test_callers_own_side_is_one_candidate_too() -> None:
    (stranger,) = crowd(1)
    candidates, (edge,) = judged(Ref("tenant", "stranger-0"), stranger)
    assert len(candidates) == 1
    assert (edge.reason, edge.port, len(edge.ports)) == ("PeerMissing", "p0", 1024)


def test_accepted_caller_has_an_edge_for_each_accepted_port_alone() -> None:
    mine = identity(
        ports=["p3", ("p4", 4)], accepts=[accept("stranger-0", "p3", "p4", namespace="tenant")]
    )
    governed = namespace("tenant", domain="production")
    candidates, edges = judged(Ref("shop", "payments"), mine, governed, *crowd(1))
    assert [edge.port for edge in edges if edge.state is EdgeState.LIVE] == ["p3", "p4"]
    assert len(candidates) == 3


def test_callee_that_is_not_called_is_one_candidate_whatever_it_accepts() -> None:
    ports = MANY[:16]
    stranger = identity(
        "stranger",
        "tenant",
        ports=[(port, number) for number, port in enumerate(ports, 8000)],
        accepts=[accept("payments", *ports, namespace="shop")],
    )
    candidates, (edge,) = judged(Ref("shop", "payments"), identity(), stranger)
    assert len(candidates) == 1
    assert (edge.state, edge.reason) == (EdgeState.AWAITING_CALLER, "NotCalled")
    assert edge.ports == set(ports)


def one_by_one(edges: Iterable[Edge]) -> set[tuple[object, ...]]:
    return {
        (edge.caller, edge.callee, port, edge.state, edge.reason)
        for edge in edges
        for port in edge.ports
    }


@given(clusters())
def test_edges_that_stand_together_have_one_state(manifests: list[Manifest]) -> None:
    registry = builders.registry(*manifests)
    for ref in registry.identities:
        together = edges_of(registry, ref, NOW)
        alone = edges_of(registry, ref, NOW, by_port=True)
        assert one_by_one(together) == one_by_one(alone)
        single = [edge for edge in together if not edge.together]
        assert all(edge in alone for edge in single)
        for edge in together:
            first = replace(edge, together=frozenset())
            assert first in alone, "its message is that of its first port"
