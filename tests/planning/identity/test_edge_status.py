"""Edges in the status of an identity: which have an entry, and which a narrowing closes."""

import json
from typing import Any

import pytest

from tests import builders
from tests.builders import (
    NOW,
    Cluster,
    Manifest,
    accept,
    call,
    domain,
    identity,
    key_of,
    namespace,
    shop,
    unverified,
)
from tests.planning.test_status import edges
from tests.webhook_builders import endpoint
from troth.planning.faults import ErrorBoundary
from troth.planning.identity import declared, edge_status
from troth.planning.identity.edge_status import (
    AWAITED_LIMIT,
    EDGE_LIMIT,
    FOREIGN_BYTES,
    MESSAGE_LIMIT,
    PORT_LIMIT,
    UNLISTED_LIMIT,
    edge_statuses,
    with_closed_edges,
)
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.narrowing import Narrowing
from troth.trust.edges import evaluation as evaluated
from troth.trust.edges.candidate import EdgeCandidate
from troth.trust.edges.evaluation import CALLEE_NOT_NARROWED, CALLER_NOT_NARROWED, Edge

WEB = Ref("shop", "web")


def unlisted(cluster: Cluster, name: str = "payments") -> int | None:
    status = cluster.plan(key_of(name)).status
    assert status is not None
    count: int | None = status.get("unlistedEdges")
    return count


def test_edges_that_only_peers_declare_are_counted_beyond_a_limit() -> None:
    crowd = [
        identity(
            f"stranger-{number}",
            f"crowd-{number % 7}",
            calls=[call("payments", "https", "http", namespace="shop")],
        )
        for number in range(AWAITED_LIMIT + 10)
    ]
    mine = identity(
        ports=["https", ("http", 8080)],
        accepts=[accept("zoo"), unverified("http", cidrs=["0.0.0.0/0"])],
    )
    cluster = shop(mine, identity("zoo", calls=[call("payments")]), *crowd)
    listed = edges(cluster)
    assert [edge["peer"] for edge in listed[:2]] == ["shop/zoo", "0.0.0.0/0"]
    assert listed[1]["reason"] == "Unverified"
    assert len(listed[2:]) == AWAITED_LIMIT
    assert unlisted(cluster) == 2 * 10


def test_edges_that_an_identity_declares_are_all_listed() -> None:
    peers = [f"peer-{number}" for number in range(AWAITED_LIMIT)]
    accepts, calls = [accept(peer) for peer in peers], [call(peer) for peer in peers]
    mine = identity(ports=["https"], accepts=accepts, calls=calls)
    cluster = shop(mine)
    assert len(edges(cluster)) == 2 * AWAITED_LIMIT
    assert unlisted(cluster) is None


def test_edges_that_may_be_open_or_a_narrowing_closes_are_listed_whoever_declares_them() -> None:
    mine, states = builders.parsed_identity(identity()), (EdgeState.LIVE, EdgeState.SUSPENDED)
    peers = [Ref("shop", f"peer-{number}") for number in range(2 * AWAITED_LIMIT)]
    awaited = [Edge(peer, mine.ref, "https", EdgeState.AWAITING_CALLEE) for peer in peers]
    closed = [Edge(mine.ref, p, "https", EdgeState.REFUSED, CALLER_NOT_NARROWED) for p in peers]
    opened = [Edge(mine.ref, p, "http", state) for p in peers for state in states]
    entries, count = edge_statuses(mine, (*awaited, *closed, *opened), NOW, ErrorBoundary())
    assert len(entries) == len(closed) + len(opened) + AWAITED_LIMIT
    assert count == len(awaited) - AWAITED_LIMIT


def test_edges_in_a_status_are_bounded_and_those_that_are_read_again_come_first() -> None:
    mine = builders.parsed_identity(identity())
    peers = [Ref("shop", f"peer-{number}") for number in range(EDGE_LIMIT)]
    awaited = [Edge(peer, mine.ref, "https", EdgeState.AWAITING_CALLEE) for peer in peers]
    closed = [Edge(mine.ref, p, "https", EdgeState.REFUSED, CALLER_NOT_NARROWED) for p in peers]
    entries, count = edge_statuses(mine, (*awaited, *closed), NOW, ErrorBoundary())
    assert {entry.reason for entry in entries} == {CALLER_NOT_NARROWED}
    assert len(entries) == EDGE_LIMIT
    assert count == len(awaited)


def test_edges_that_others_declare_are_bounded_in_bytes() -> None:
    """A callee's consent alone can open an edge, or be refused, and then others declare it."""
    mine = builders.parsed_identity(identity())
    peers = [Ref("n" * 63, f"{number:063}") for number in range(EDGE_LIMIT)]
    refused = [
        Edge(mine.ref, p, "https", EdgeState.REFUSED, "NotFederated", "x" * MESSAGE_LIMIT)
        for p in peers
    ]
    entries, count = edge_statuses(mine, tuple(refused), NOW, ErrorBoundary())
    size = len(json.dumps([each.manifest() for each in entries]))
    assert 0.9 * FOREIGN_BYTES < size < FOREIGN_BYTES
    assert len(entries) + count == len(refused)


def test_crowd_changes_no_status_beyond_a_number() -> None:
    mine = builders.parsed_identity(identity())

    def counted(number: int) -> tuple[Any, int]:
        peers = [Ref("tenant", f"peer-{each:06}") for each in range(number)]
        edges = [Edge(peer, mine.ref, "https", EdgeState.AWAITING_CALLEE) for peer in peers]
        return edge_statuses(mine, tuple(edges), NOW, ErrorBoundary())

    assert counted(AWAITED_LIMIT + UNLISTED_LIMIT) == counted(AWAITED_LIMIT + UNLISTED_LIMIT + 1)


def test_open_edges_beyond_the_limit_are_counted_and_displace_no_narrowing() -> None:
    mine = builders.parsed_identity(identity())
    peers = [Ref("shop", f"peer-{number}") for number in range(EDGE_LIMIT)]
    opened = [Edge(mine.ref, p, "https", EdgeState.LIVE) for p in peers]
    closed = Edge(mine.ref, WEB, "https", EdgeState.REFUSED, CALLER_NOT_NARROWED)
    entries, count = edge_statuses(mine, (*opened, closed), NOW, ErrorBoundary())
    assert entries[0].peer == str(WEB)
    assert (len(entries), count) == (EDGE_LIMIT, 1)


MANY = [f"p{number}" for number in range(PORT_LIMIT + 16)]
"""More ports than an entry lists. One entry of `calls` has at most 16."""


def call_many(name: str, namespace: str | None = None) -> list[Manifest]:
    return [call(name, *MANY[at : at + 16], namespace=namespace) for at in range(0, len(MANY), 16)]


def test_foreign_identity_cannot_break_a_status_with_ports() -> None:
    before = shop(identity(ports=["https"])).settle()
    after = shop(
        identity(ports=["https"]),
        identity("stranger", "tenant", calls=call_many("payments", "shop")),
    ).settle()
    for type_ in ("Ready", "NetworkEnforced", "PeersAgree", "Stalled"):
        assert after.condition(key_of(), type_) == before.condition(key_of(), type_)
    (listed,) = edges(after)
    assert (listed["peer"], len(listed["ports"])) == ("tenant/stranger", PORT_LIMIT)
    assert unlisted(after) == len(MANY) - PORT_LIMIT


def test_identity_may_call_more_ports_of_a_callee_than_an_entry_lists() -> None:
    cluster = shop(identity(calls=call_many("ledger"))).settle()
    assert cluster.condition(key_of(), "Ready")["status"] == "True"
    assert unlisted(cluster) == len(MANY) - PORT_LIMIT


def test_endpoints_of_a_tenant_cannot_break_the_status_of_a_gateway() -> None:
    served: Manifest = {"allowedNamespaces": {"matchLabels": {"domain": "production"}}}
    place: Manifest = {"identity": {"name": "target"}, "path": "/events", "workflow": "settle"}
    hooks = [
        endpoint(
            f"hook-{port}",
            "tenant",
            gateway={"name": "gateway", "namespace": "shop"},
            target={**place, "port": port},
        )
        for port in MANY
    ]
    tenant = namespace("tenant", domain="production"), identity("target", "tenant")
    plan = shop(*tenant, identity("gateway", servesWebhooks=served), *hooks).plan(key_of("gateway"))
    assert not plan.errors
    assert plan.status is not None
    (listed,) = plan.status["edges"]
    assert (listed["peer"], len(listed["ports"])) == ("tenant/target", PORT_LIMIT)


def test_long_message_is_cut() -> None:
    mine = builders.parsed_identity(identity(calls=[call("web")]))
    edge = Edge(mine.ref, WEB, "https", EdgeState.REFUSED, "NotFederated", "x" * 2000)
    (entry,), _ = edge_statuses(mine, (edge,), NOW, ErrorBoundary())
    assert entry.message == "x" * MESSAGE_LIMIT


# Edges that a narrowing closes, if planning fails

EVERYBODY = Narrowing(every_caller=True, every_callee=True)


def entry(peer: Ref | str, direction: str = "Inbound", *ports: str) -> Manifest:
    ports = ports or ("https",)
    return {"peer": str(peer), "direction": direction, "state": "Live", "ports": list(ports)}


def closed(
    narrowing: Narrowing,
    *others: Manifest,
    before: Manifest | None = None,
    **spec: Any,
) -> Manifest:
    """Return the status of `payments`, which cannot be planned."""
    mine = identity("payments", **spec) | {"status": before or {}}
    declared = builders.registry(*others, mine)
    parsed = builders.parsed_identity(mine)
    return dict(with_closed_edges(parsed.status.manifest(), parsed, narrowing, declared, NOW))


def sides(status: Manifest) -> list[tuple[str, str, list[str], str]]:
    """Return the entries that a narrowing closes."""
    return [
        (each["peer"], each["direction"], each["ports"], each["reason"])
        for each in status.get("edges", [])
        if each["state"] == "Refused"
    ]


@pytest.mark.parametrize(
    "narrowing", [Narrowing(frozenset({WEB})), EVERYBODY], ids=["one caller", "every caller"]
)
def test_caller_that_is_newer_than_the_status_is_listed_as_closed(narrowing: Narrowing) -> None:
    status = closed(narrowing, ports=["https"], accepts=[accept("web")])
    assert sides(status) == [("shop/web", "Inbound", ["https"], CALLEE_NOT_NARROWED)]
    assert "unlistedEdges" not in status


def test_callee_that_is_newer_than_the_status_is_listed_as_closed() -> None:
    called = [("shop/ledger", "Outbound", ["https"], CALLER_NOT_NARROWED)]
    assert sides(closed(EVERYBODY, calls=[call("ledger")])) == called
    ledger = identity("ledger", ports=["https"], accepts=[accept("payments")])
    assert sides(closed(EVERYBODY, ledger, calls=[call("ledger")])) == called


def test_strangers_have_no_entry_and_displace_none() -> None:
    strangers = [
        identity(f"s{number}", "aaa", calls=[call("payments", namespace="shop")])
        for number in range(EDGE_LIMIT + 10)
    ]
    status = closed(
        EVERYBODY,
        *strangers,
        before={"unlistedEdges": EDGE_LIMIT},
        ports=["https"],
        accepts=[accept("web")],
    )
    assert [each[0] for each in sides(status)] == ["shop/web"]


@pytest.mark.parametrize("consent", ["Mutual", "Callee"])
def test_callee_whose_consent_suffices_is_listed_as_closed(consent: str) -> None:
    ledger = identity("ledger", ports=["https"], accepts=[accept("payments")])
    shops = namespace("shop", domain="production"), domain(consent=consent)
    expected = [("shop/ledger", "Outbound", ["https"], CALLER_NOT_NARROWED)]
    assert sides(closed(EVERYBODY, *shops, ledger)) == (expected if consent == "Callee" else [])


def test_target_of_a_gateway_is_listed_as_closed() -> None:
    target = identity("target", ports=["https"], accepts=[accept("payments")])
    place = {"port": "https", "path": "/events", "workflow": "settle"}
    to = {"identity": {"name": "target"}, **place}
    hook = endpoint("charges", gateway={"name": "payments"}, target=to)
    shops = namespace("shop", domain="production"), domain()
    gateway: Manifest = {"allowedNamespaces": {"matchLabels": {"domain": "production"}}}
    expected = [("shop/target", "Outbound", ["https"], CALLER_NOT_NARROWED)]
    assert sides(closed(EVERYBODY, *shops, target, hook, servesWebhooks=gateway)) == expected


def test_entry_that_is_listed_keeps_its_ports_and_unverified_peers_stay_open() -> None:
    before: Manifest = {
        "edges": [entry("192.0.2.0/24"), entry(WEB, "Inbound", "admin", "https"), entry("a/b")],
        "unlistedEdges": 1,
    }
    peers = [unverified("https", cidrs=["192.0.2.0/24"]), accept("web")]
    status = closed(EVERYBODY, before=before, ports=["https"], accepts=peers)
    assert sides(status) == [
        ("shop/web", "Inbound", ["admin", "https"], CALLEE_NOT_NARROWED),
        ("a/b", "Inbound", ["https"], CALLEE_NOT_NARROWED),
    ]
    assert len(status["edges"]) == len(before["edges"])
    assert status["unlistedEdges"] == 1


def test_declared_edge_displaces_others_once_and_they_are_counted() -> None:
    before: Manifest = {"edges": [entry(f"a/s{each}") for each in range(EDGE_LIMIT)]}
    spec: Manifest = {"ports": ["https"], "accepts": [accept("web")]}
    status = closed(EVERYBODY, before=before, **spec)
    assert sides(status)[0][0] == "shop/web"
    assert len(status["edges"]) == EDGE_LIMIT
    assert status["unlistedEdges"] == 1
    assert closed(EVERYBODY, before=status, **spec) == status


@pytest.mark.faulty
def test_error_in_the_registry_keeps_no_declared_edge_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> Any:
        raise ValueError

    monkeypatch.setattr(edge_status, "consented_from", failing)
    status = closed(EVERYBODY, ports=["https"], accepts=[accept("web")])
    assert [each[0] for each in sides(status)] == ["shop/web"]
    monkeypatch.setattr(edge_status, "_closed", failing)
    before: Manifest = {"edges": [entry(WEB)]}
    assert closed(EVERYBODY, before=before)["edges"] == before["edges"]


def test_ports_of_one_peer_in_one_state_share_an_entry() -> None:
    both = ["https", "http"]
    cluster = shop(
        identity(ports=["https", ("http", 8080)], accepts=[accept("checkout", *both)]),
        identity("checkout", calls=[call("payments", *both)]),
    )
    (edge,) = edges(cluster)
    assert (edge["ports"], edge["state"]) == (["http", "https"], "Live")


# Errors


@pytest.mark.faulty
@pytest.mark.parametrize("part", ["_foreign", "evaluate"])
def test_error_about_a_foreign_declaration_changes_no_condition(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> Any:
        raise ValueError

    mine = identity(ports=["https"], accepts=[accept("web")])
    web = identity("web", calls=[call("payments")])
    stranger = identity("stranger", "tenant", calls=[call("payments", namespace="shop")])
    cluster = shop(mine, web, stranger).settle()
    before = cluster.plan(key_of())
    assert before.status is not None
    if part == "evaluate":
        evaluate = evaluated.evaluate

        def evaluation(candidate: EdgeCandidate) -> Edge:
            return failing() if candidate.caller.namespace == "tenant" else evaluate(candidate)

        monkeypatch.setattr(declared, "evaluate", evaluation)
        monkeypatch.setattr(evaluated, "evaluate", evaluation)
    else:
        monkeypatch.setattr(edge_status, part, failing)
    after = cluster.plan(key_of())
    assert after.status is not None
    assert after.status["conditions"] == before.status["conditions"]
    assert after.status["edges"][0] == before.status["edges"][0]
    assert len(after.errors) == 1
    assert not after.pending(cluster.world)
