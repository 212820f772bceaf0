"""What closes an edge takes precedence over what suspends it, and no edge depends on another."""

from datetime import timedelta
from typing import Any

import pytest

from tests.builders import (
    HOUR,
    NOW,
    Manifest,
    accept,
    authority_secret,
    call,
    domain,
    gateway_only,
    identity,
    key_of,
    namespace,
    registry,
    stamp,
)
from tests.builders import Cluster as Stage
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.edges.declared import all_edges, consented_from, edges_of
from troth.trust.edges.evaluation import Edge

WEB, PAY = Ref("s", "web"), Ref("e", "pay")
CALLER = identity("web", "s", calls=[call("pay", namespace="e")])
CALLEE = identity("pay", "e", ports=["https"], accepts=[accept("web", namespace="s")])
EITHER = {"matchExpressions": [{"key": "domain", "operator": "In", "values": ["red", "blue"]}]}
UNKNOWN = "spec.unknownField: unknown field"


def terminating(manifest: Manifest) -> Manifest:
    held = {"deletionTimestamp": stamp(NOW - HOUR), "finalizers": ["example.com/hold"]}
    return {**manifest, "metadata": {**manifest["metadata"], **held}}


def together(name: str, *others: str, **spec: Any) -> Manifest:
    """Return a domain that federates with others."""
    listed = [{"name": each} for each in others]
    return domain(name, **{"environment": "prod", "federatesWith": listed} | spec)


def only(known: Registry) -> tuple[EdgeState, str]:
    (edge,) = all_edges(known, NOW)
    return edge.state, edge.reason


def torn(*manifests: Manifest, callee: str = "green", **blue: Any) -> Registry:
    """Two domains select the caller's namespace, and both federate with the callee's domain."""
    return registry(
        namespace("s", domain="red"),
        namespace("e", **({"domain": callee} if callee else {})),
        together("red", "green"),
        together("blue", "green", **{"namespaceSelector": EITHER} | blue),
        *(manifests or (together("green", "red", "blue"), CALLER, CALLEE)),
    )


# A refusal at the other end of a conflict


def test_conflict_at_one_end_suspends_the_edge() -> None:
    assert only(torn()) == (EdgeState.SUSPENDED, "NamespaceOverlap")


def test_callee_without_a_domain_refuses_the_edge_during_a_conflict_at_the_caller() -> None:
    assert only(torn(callee="")) == (EdgeState.REFUSED, "NoTrustDomain")


def test_callee_whose_domain_is_deleted_refuses_the_edge_during_a_conflict_at_the_caller() -> None:
    green = terminating(together("green", "red", "blue"))
    assert only(torn(green, CALLER, CALLEE)) == (EdgeState.REFUSED, "TrustDomainTerminating")


def test_edge_that_no_possible_domain_permits_is_refused_during_a_conflict() -> None:
    assert only(torn(together("green"), CALLER, CALLEE)) == (EdgeState.REFUSED, "NotFederated")
    assert only(torn(together("green", "blue"), CALLER, CALLEE))[0] is EdgeState.SUSPENDED


@pytest.mark.parametrize(
    ("blue", "state"), [("Mutual", EdgeState.AWAITING_CALLER), ("Callee", EdgeState.SUSPENDED)]
)
def test_one_possible_domain_must_permit_the_edge_in_every_respect(
    blue: str, state: EdgeState
) -> None:
    """Red does without the caller's consent and does not federate with the callee's domain."""
    known = registry(
        namespace("s", domain="red"),
        namespace("e", domain="green"),
        together("red", consent="Callee"),
        together("blue", "green", namespaceSelector=EITHER, consent=blue),
        together("green", "blue", consent="Callee"),
        identity("web", "s"),
        CALLEE,
    )
    assert only(known)[0] is state


def test_tokens_that_no_possible_domain_issues_refuse_the_edge() -> None:
    asking = identity(
        *("pay", "e"),
        ports=["https"],
        accepts=[accept("web", namespace="s")],
        authentication={"token": {}},
    )
    green = together("green", "red", "blue", tokens={})
    assert only(torn(green, CALLER, asking)) == (EdgeState.REFUSED, "TokensNotEnabled")
    assert only(torn(green, CALLER, asking, tokens={}))[0] is EdgeState.SUSPENDED


def test_namespace_that_only_deleted_domains_select_is_not_in_conflict() -> None:
    one = domain("red", namespaceSelector=EITHER)
    known = registry(
        namespace("s", domain="red"),
        terminating(one),
        terminating({**one, "metadata": {"name": "blue"}}),
        identity("web", "s", calls=[call("pay")]),
        identity("pay", "s", ports=["https"], accepts=[accept("web")]),
    )
    assert only(known) == (EdgeState.REFUSED, "TrustDomainTerminating")
    (edge,) = all_edges(known, NOW)
    assert edge.message == (
        "TrustDomains blue and red are being deleted and no longer govern namespace s; label the "
        "namespace so that another TrustDomain selects it"
    )


# Gateway-only trust


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (1, (EdgeState.SUSPENDED, "NamespaceOverlap")),
        (-1, (EdgeState.REFUSED, "GatewayTrustExpired")),
    ],
)
def test_gateway_trust_ends_during_a_conflict_even_if_the_callee_alone_consents(
    days: int, expected: tuple[EdgeState, str]
) -> None:
    trust = gateway_only("web", NOW + timedelta(days=days))
    known = registry(
        namespace("s", domain="red"),
        domain("red", namespaceSelector=EITHER, consent="Callee"),
        domain("blue", namespaceSelector=EITHER, consent="Mutual"),
        identity("web", "s"),
        identity("pay", "s", ports=["https"], accepts=[accept("web")], authentication=trust),
    )
    assert only(known) == expected


# A refusal by the side that can be read


def governed(*manifests: Manifest) -> Registry:
    return registry(namespace("s", domain="red"), domain("red"), *manifests)


def unread(known: Registry, name: str) -> Registry:
    known.refuse_identity(Ref("s", name), UNKNOWN)
    return known


def test_gateway_trust_ends_while_the_gateway_cannot_be_read() -> None:
    for days, state in ((1, EdgeState.SUSPENDED), (-1, EdgeState.REFUSED)):
        trust = gateway_only("web", NOW + timedelta(days=days))
        callee = identity(
            "pay", "s", ports=["https"], accepts=[accept("web")], authentication=trust
        )
        assert only(unread(governed(callee), "web"))[0] is state


def test_missing_callee_closes_the_edge_of_a_caller_in_conflict() -> None:
    assert only(torn(together("green", "red", "blue"), CALLER)) == (
        EdgeState.AWAITING_CALLEE,
        "PeerMissing",
    )


@pytest.mark.parametrize("name", ["web", "pay"])
def test_deleted_domain_closes_the_edge_of_a_peer_that_cannot_be_read(name: str) -> None:
    caller = identity("web", "s", calls=[call("pay")])
    callee = identity("pay", "s", ports=["https"], accepts=[accept("web")])
    known = unread(governed(caller, callee), name)
    assert only(known) == (EdgeState.SUSPENDED, "PeerInvalid")
    leaving = registry(namespace("s", domain="red"), terminating(domain("red")), caller, callee)
    assert only(unread(leaving, name)) == (EdgeState.REFUSED, "TrustDomainTerminating")


# Edges do not depend on each other


def declared_by_the_callee_alone() -> list[Manifest]:
    """Two domains that need only the callee's consent; the first edge leads out of one of them."""
    return [
        namespace("a", domain="red"),
        namespace("s", domain="green"),
        terminating(together("red", "green", consent="Callee")),
        together("green", "red", consent="Callee"),
        identity("far", "a"),
        identity("web", "s"),
        identity(
            *("pay", "s"),
            ports=["https"],
            accepts=[accept("far", namespace="a"), accept("web")],
        ),
    ]


def test_deleted_domain_closes_only_its_own_edges() -> None:
    known = registry(*declared_by_the_callee_alone())
    near, pay, far = Ref("s", "web"), Ref("s", "pay"), Ref("a", "far")
    assert [(each.caller, each.state, each.reason) for each in edges_of(known, pay, NOW)] == [
        (far, EdgeState.REFUSED, "TrustDomainTerminating"),
        (near, EdgeState.LIVE, ""),
    ]
    assert len(consented_from(known, near, NOW)) == 1


def test_policy_keeps_the_edges_of_a_domain_while_another_one_is_deleted() -> None:
    secrets = authority_secret("red"), authority_secret("green")
    stage = Stage.of(*declared_by_the_callee_alone(), *secrets).settle()
    policy = stage.objects["NetworkPolicy", Ref("s", "pay-troth")]
    (rule,) = policy["spec"]["ingress"]
    assert rule["from"][0]["podSelector"] == {"matchLabels": {"app": "web"}}
    agreed = stage.condition(key_of("pay", "s"), "PeersAgree")
    assert (agreed["status"], agreed["reason"]) == ("False", "TrustDomainTerminating")


def test_check_that_runs_out_of_items_loses_no_other_edge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A StopIteration would end a `map` without an error."""
    known = governed(
        identity("web", "s", calls=[call("pay"), call("ledger")]),
        identity("pay", "s", ports=["https"], accepts=[accept("web")]),
        identity("ledger", "s", ports=["https"], accepts=[accept("web")]),
    )

    def judged(candidate: Any) -> Edge:
        if candidate.callee.name == "ledger":
            next(iter(()))
        return Edge(candidate.caller, candidate.callee, candidate.port, EdgeState.LIVE)

    with pytest.raises(RuntimeError):
        edges_of(known, Ref("s", "web"), NOW, judged)
