"""Each check of an edge, with its reason and a message that says what to change."""

from datetime import timedelta
from typing import Any

import pytest

from tests import builders
from tests.builders import (
    NOW,
    Manifest,
    accept,
    call,
    domain,
    gateway_only,
    identity,
    namespace,
    registry,
)
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.registry import Registry
from troth.trust.edges.declared import all_edges, edges_of

PAYMENTS = identity("payments", ports=["https"], accepts=[accept("checkout")])
CHECKOUT = identity("checkout", calls=[call("payments")])
SHOP = namespace("shop", domain="production")


def declared(*manifests: Manifest) -> Registry:
    return registry(SHOP, domain(), *manifests)


def verdict(declared: Registry) -> tuple[EdgeState, str]:
    """The only edge there is."""
    (edge,) = all_edges(declared, NOW)
    assert (edge.message == "") == (edge.state is EdgeState.LIVE)
    return edge.state, edge.reason


def test_edge_is_live_once_both_sides_declare_it() -> None:
    assert verdict(declared(PAYMENTS, CHECKOUT)) == (EdgeState.LIVE, "")


def test_both_sides_see_the_same_edge() -> None:
    both = declared(PAYMENTS, CHECKOUT)
    assert edges_of(both, Ref("shop", "payments"), NOW) == edges_of(
        both, Ref("shop", "checkout"), NOW
    )


ALONE: dict[str, tuple[list[Manifest], EdgeState, str]] = {
    "the callee does not accept": (
        [identity("payments", ports=["https"]), CHECKOUT],
        EdgeState.AWAITING_CALLEE,
        "NotAccepted",
    ),
    "the caller does not call": (
        [PAYMENTS, identity("checkout")],
        EdgeState.AWAITING_CALLER,
        "NotCalled",
    ),
    "the callee is not there": ([CHECKOUT], EdgeState.AWAITING_CALLEE, "PeerMissing"),
    "the caller is not there": ([PAYMENTS], EdgeState.AWAITING_CALLER, "PeerMissing"),
    "the callee has no such port": (
        [identity("payments", ports=["http"]), CHECKOUT],
        EdgeState.AWAITING_CALLEE,
        "PortUndeclared",
    ),
}


@pytest.mark.parametrize(("manifests", "state", "reason"), ALONE.values(), ids=list(ALONE))
def test_one_sided_declaration_opens_nothing(
    manifests: list[Manifest], state: EdgeState, reason: str
) -> None:
    assert verdict(declared(*manifests)) == (state, reason)


def test_callee_alone_opens_an_edge_with_consent_callee() -> None:
    lenient = domain(consent="Callee")
    assert verdict(registry(SHOP, lenient, PAYMENTS, identity("checkout"))) == (EdgeState.LIVE, "")


@pytest.mark.parametrize(
    ("consents", "expected"),
    [
        (("Callee", "Mutual"), (EdgeState.SUSPENDED, "NamespaceOverlap")),
        (("Mutual", "Mutual"), (EdgeState.AWAITING_CALLER, "NotCalled")),
    ],
)
def test_edge_is_suspended_if_a_claiming_domain_might_need_only_the_callee(
    consents: tuple[str, str], expected: tuple[EdgeState, str]
) -> None:
    claiming = [
        domain(name, consent=consent, namespaceSelector={"matchLabels": {"domain": "production"}})
        for name, consent in zip(("production", "rival"), consents, strict=True)
    ]
    assert verdict(registry(SHOP, *claiming, PAYMENTS, identity("checkout"))) == expected


def test_callers_consent_is_required_if_either_domain_requires_it() -> None:
    """What a conflict at the other end leaves open nobody grants, whoever wins it."""
    both = {"matchExpressions": [{"key": "domain", "operator": "In", "values": ["one", "two"]}]}
    there = registry(
        namespace("shop", domain="one"),
        namespace("finance", domain="mine"),
        domain("one", consent="Callee"),
        domain("two", consent="Callee", namespaceSelector=both),
        domain("mine"),
        identity("payments", ports=["https"], accepts=[accept("checkout", namespace="finance")]),
        identity("checkout", "finance"),
    )
    assert verdict(there) == (EdgeState.AWAITING_CALLER, "NotCalled")


def test_caller_alone_never_opens_an_edge() -> None:
    lenient = domain(consent="Callee")
    deaf = identity("payments", ports=["https"])
    assert verdict(registry(SHOP, lenient, deaf, CHECKOUT))[1] == "NotAccepted"


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (0, (EdgeState.REFUSED, "GatewayTrustExpired")),
        (-1, (EdgeState.REFUSED, "GatewayTrustExpired")),
        (1, (EdgeState.LIVE, "")),
        (90, (EdgeState.LIVE, "")),
        (91, (EdgeState.REFUSED, "GatewayTrustTooLong")),
    ],
)
def test_gateway_only_trust_ends_at_its_date(days: int, expected: tuple[EdgeState, str]) -> None:
    trust = gateway_only("checkout", NOW + timedelta(days=days))
    callee = identity(
        "payments", ports=["https"], accepts=[accept("checkout")], authentication=trust
    )
    assert verdict(declared(callee, CHECKOUT)) == expected


TOKENS: Manifest = {"tokens": {}}
ASKING = identity(
    "payments", ports=["https"], accepts=[accept("checkout")], authentication={"token": {}}
)


def test_callee_that_requires_tokens_needs_an_issuing_domain() -> None:
    refused = (EdgeState.REFUSED, "TokensNotEnabled")
    assert verdict(declared(ASKING, CHECKOUT)) == refused
    assert verdict(registry(SHOP, domain(**TOKENS), ASKING, CHECKOUT)) == (EdgeState.LIVE, "")


@pytest.mark.parametrize(
    ("here", "there", "expected"),
    [
        (TOKENS, TOKENS, (EdgeState.LIVE, "")),
        (TOKENS, {}, (EdgeState.REFUSED, "TokensNotEnabled")),
        ({}, TOKENS, (EdgeState.REFUSED, "TokensNotEnabled")),
    ],
)
def test_between_two_domains_both_must_issue_tokens(
    here: Manifest, there: Manifest, expected: tuple[EdgeState, str]
) -> None:
    federation = registry(
        SHOP,
        namespace("abroad", domain="abroad"),
        domain(federatesWith=[{"name": "abroad"}], allowEnvironments=["abroad"], **here),
        domain(
            "abroad",
            federatesWith=[{"name": "production"}],
            allowEnvironments=["production"],
            **there,
        ),
        identity(
            "payments",
            ports=["https"],
            accepts=[accept("partner", namespace="abroad")],
            authentication={"token": {}},
        ),
        identity("partner", "abroad", calls=[call("payments", namespace="shop")]),
    )
    assert verdict(federation) == expected


@pytest.mark.parametrize(
    ("where", "shared"), [("shop", True), ("finance", True), ("abroad", False)]
)
def test_older_claim_to_an_audience_stands_and_the_newer_is_refused(
    where: str, shared: bool
) -> None:
    """A team could else have tokens made for another's service. Who is not federated cannot."""
    both = {"token": {"audience": "https://payments.example"}}
    victim = created(
        identity("payments", ports=["https"], accepts=[accept("checkout")], authentication=both), 1
    )
    squatter = created(
        identity(
            "a-squatter",
            where,
            ports=["https"],
            accepts=[accept("checkout", namespace="shop")],
            authentication=both,
        ),
        2,
    )
    claiming = registry(
        SHOP,
        namespace("finance", domain="production"),
        namespace("abroad", domain="abroad"),
        domain(federatesWith=[], **TOKENS),
        domain("abroad", **TOKENS),
        victim,
        squatter,
        identity("checkout", calls=[call("payments"), call("a-squatter", namespace=where)]),
    )
    found = {edge.callee.name: edge for edge in all_edges(claiming, NOW)}
    assert found["payments"].state is EdgeState.LIVE
    assert (found["a-squatter"].reason == "Conflict") is shared
    assert "payments" not in found["a-squatter"].message


def test_gateway_only_workload_cannot_call_even_with_consent_callee() -> None:
    trust = gateway_only("gateway", NOW + timedelta(days=1))
    caller = identity("checkout", authentication=trust)
    found = verdict(registry(SHOP, domain(consent="Callee"), PAYMENTS, caller))
    assert found == (EdgeState.REFUSED, "CallerHasNoCertificate")


def created(manifest: Manifest, day: int) -> Manifest:
    """Return the manifest as created on a day."""
    metadata = {**manifest["metadata"], "creationTimestamp": f"2027-01-{day:02}T00:00:00Z"}
    return {**manifest, "metadata": metadata}


def abroad(here: Manifest, there: Manifest) -> tuple[EdgeState, str]:
    """An edge from `shop` in the first domain to `finance` in the second."""
    return verdict(
        registry(
            SHOP,
            namespace("finance", domain="abroad"),
            here,
            there,
            identity(
                "ledger", "finance", ports=["https"], accepts=[accept("checkout", namespace="shop")]
            ),
            identity("checkout", calls=[call("ledger", namespace="finance")]),
        )
    )


def named(*names: str) -> list[Manifest]:
    return [{"name": name} for name in names]


FEDERATION: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "both name each other": (
        {"federatesWith": named("abroad")},
        {"federatesWith": named("production"), "environment": "production"},
        "",
    ),
    "one names the other": (
        {"federatesWith": named("abroad")},
        {"environment": "production"},
        "NotFederated",
    ),
    "the other names the one": (
        {},
        {"federatesWith": named("production"), "environment": "production"},
        "NotFederated",
    ),
    "environments differ and only one allows it": (
        {"federatesWith": named("abroad"), "allowEnvironments": ["abroad"]},
        {"federatesWith": named("production")},
        "EnvironmentNotAllowed",
    ),
    "environments differ and both allow it": (
        {"federatesWith": named("abroad"), "allowEnvironments": ["abroad"]},
        {"federatesWith": named("production"), "allowEnvironments": ["production"]},
        "",
    ),
}


@pytest.mark.parametrize(("here", "there", "reason"), FEDERATION.values(), ids=list(FEDERATION))
def test_peers_of_two_domains_need_mutual_federation(
    here: dict[str, Any], there: dict[str, Any], reason: str
) -> None:
    state = EdgeState.REFUSED if reason else EdgeState.LIVE
    assert abroad(domain(**here), domain("abroad", **there)) == (state, reason)


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_domains_of_the_same_spiffe_trust_domain_never_federate(environment: str) -> None:
    """Neither trusts the other's root, so a call would fail although the network is open."""
    same = {"domain": "production.example", "environment": environment}
    ledger = identity(
        "ledger", "finance", ports=["https"], accepts=[accept("checkout", namespace="shop")]
    )
    scene = registry(
        SHOP,
        namespace("finance", domain="abroad"),
        domain(federatesWith=named("abroad")),
        domain("abroad", federatesWith=named("production"), **same),
        ledger,
        identity("checkout", calls=[call("ledger", namespace="finance")]),
    )
    assert verdict(scene) == (EdgeState.REFUSED, "NotFederated")
    (edge,) = all_edges(scene, NOW)
    assert edge.message == (
        "TrustDomains abroad and production have the same SPIFFE trust domain production.example "
        "and cannot federate; delete the one whose AuthorityReady is Conflict and create it with "
        "another spec.domain"
    )


UNSETTLED: dict[str, tuple[list[Manifest], EdgeState, str]] = {
    "two domains": (
        [domain("usurper", namespaceSelector={"matchLabels": {"domain": "production"}})],
        EdgeState.SUSPENDED,
        "NamespaceOverlap",
    ),
    "a shared account": (
        [identity("rival", account="payments")],
        EdgeState.SUSPENDED,
        "SharedIdentity",
    ),
    "overlapping pods": (
        [identity("rival", pods={"matchLabels": {"tier": "front"}})],
        EdgeState.SUSPENDED,
        "SharedIdentity",
    ),
}


@pytest.mark.parametrize(("more", "state", "reason"), UNSETTLED.values(), ids=list(UNSETTLED))
def test_conflict_suspends_and_says_what_to_change(
    more: list[Manifest], state: EdgeState, reason: str
) -> None:
    assert verdict(declared(PAYMENTS, CHECKOUT, *more)) == (state, reason)


def test_unreadable_identity_suspends_its_edges() -> None:
    both = declared(PAYMENTS, CHECKOUT)
    both.refuse_identity(Ref("shop", "checkout"), "spec.unknownField: unknown field")
    assert verdict(both) == (EdgeState.SUSPENDED, "PeerInvalid")
    both = declared(PAYMENTS, CHECKOUT)
    both.refuse_domain("production", "spec.unknownField: unknown field")
    assert verdict(both) == (EdgeState.SUSPENDED, "TrustDomainInvalid")


def test_edge_of_an_ungoverned_namespace_is_refused_with_what_to_do() -> None:
    adrift = registry(namespace("shop"), domain(), PAYMENTS, CHECKOUT)
    assert verdict(adrift) == (EdgeState.REFUSED, "NoTrustDomain")
    gone = registry(domain(), PAYMENTS, CHECKOUT)
    assert verdict(gone) == (EdgeState.REFUSED, "NamespaceMissing")


def test_refusal_takes_precedence_over_suspension() -> None:
    """What is refused closes, whatever else is unsettled."""
    trust = gateway_only("checkout", NOW - timedelta(days=1))
    ended = identity(
        "payments", ports=["https"], accepts=[accept("checkout")], authentication=trust
    )
    found = verdict(declared(ended, CHECKOUT, identity("rival", account="payments")))
    assert found == (EdgeState.REFUSED, "GatewayTrustExpired")


def test_identity_may_call_itself() -> None:
    own = identity(
        "payments", ports=["https"], accepts=[accept("payments")], calls=[call("payments")]
    )
    assert verdict(declared(own)) == (EdgeState.LIVE, "")
    assert builders.shop(own).settle().policies()


def federated() -> Registry:
    """Two federated trust domains, and an edge from one into the other."""
    mutual = [{"name": "production"}, {"name": "abroad"}]
    far = {"environment": "production", "federatesWith": mutual[:1]}
    return registry(
        SHOP,
        namespace("far", domain="abroad"),
        domain(federatesWith=mutual[1:]),
        domain("abroad", **far),
        identity("payments", ports=["https"], accepts=[accept("checkout", namespace="far")]),
        identity("checkout", "far", calls=[call("payments", namespace="shop")]),
    )


@pytest.mark.parametrize("whose", ["abroad", "production"])
def test_edge_to_a_domain_with_an_unconfined_root_is_refused(whose: str) -> None:
    both = federated()
    assert verdict(both) == (EdgeState.LIVE, "")
    before = both.revision
    both.note_unconfined(frozenset({whose}))
    assert both.revision > before
    assert verdict(both) == (EdgeState.REFUSED, "FederatedRootUnconfined")
    (edge,) = all_edges(both, NOW)
    assert f"constrain it to the URI host {whose}.example" in edge.message


def test_unconfined_root_is_trusted_within_its_own_domain() -> None:
    local = declared(PAYMENTS, CHECKOUT)
    local.note_unconfined(frozenset({"production"}))
    assert verdict(local) == (EdgeState.LIVE, "")
