"""Edges of one identity in `troth status`, also those that its own status does not list."""

import json
from pathlib import Path

from tests import builders
from tests.builders import Manifest
from tests.cli.api_server import Served, serving
from tests.cli.running import troth
from tests.cli.status.test_overview import edge, with_status
from troth.cli.status.edges import edge_summary, not_live
from troth.resources.kinds import KINDS

PAYMENTS = with_status(
    builders.identity("payments"),
    edges=[
        edge("shop/checkout", "Inbound", "Live", "https", "admin"),
        edge("shop/ledger", "Outbound", "AwaitingCallee"),
    ],
    unlistedEdges=1,
)
CHECKOUT = with_status(builders.identity("checkout"), edges=[edge("shop/payments", "Outbound")])
CART = with_status(
    builders.identity("cart", "web"), edges=[edge("shop/payments", "Outbound", "AwaitingCallee")]
)
APART = with_status(
    builders.identity("apart", "web"), edges=[edge("web/cart", "Outbound", "Refused")]
)


def objects(*identities: Manifest) -> dict[str, list[Manifest]]:
    return {kind.plural: [] for kind in KINDS} | {"serviceidentities": list(identities)}


def told(served: Served, *arguments: str) -> str:
    ended = troth("status", *arguments, "--kubeconfig", str(served.kubeconfig))
    assert ended.errors == ""
    return ended.output


def test_one_identity_is_shown_with_the_edges_that_only_its_peers_list(tmp_path: Path) -> None:
    with serving(tmp_path, objects(PAYMENTS, CHECKOUT, CART, APART)) as served:
        shown = told(served, "sid/payments", "-n", "shop")
    lines = [line.strip() for line in shown.splitlines()]
    assert lines[-3:] == [
        "2 live edges",
        "shop/payments → shop/ledger:https  BecauseAwaitingCallee: mend AwaitingCallee",
        "web/cart → shop/payments:https  BecauseAwaitingCallee: mend AwaitingCallee",
    ]


def test_edges_that_no_readable_status_lists_are_counted(tmp_path: Path) -> None:
    with serving(tmp_path, objects(PAYMENTS, CHECKOUT)) as served:
        shown = told(served, "sid/payments", "-n", "shop")
        found = json.loads(told(served, "sid/payments", "-n", "shop", "-o", "json"))
    assert shown.splitlines()[-1].strip().startswith("1 more edge not shown")
    assert found["serviceIdentities"][0]["edges"]["unlisted"] == 1


def test_live_edge_that_only_a_peer_lists_is_live() -> None:
    full = PAYMENTS | {"status": {"unlistedEdges": 3}}
    basket = with_status(
        builders.identity("basket", "web"), edges=[edge("shop/payments", "Outbound", "Live")]
    )
    found = edge_summary(full, [full, CART, basket])
    assert (found.live, len(found.closed), found.unlisted) == (1, 1, 1)


def test_edges_of_one_identity_are_in_its_json(tmp_path: Path) -> None:
    with serving(tmp_path, objects(PAYMENTS, CHECKOUT, CART, APART)) as served:
        found = json.loads(told(served, "sid/payments", "-n", "shop", "-o", "json"))
        whole = json.loads(told(served, "-o", "json"))
    (identity,) = found["serviceIdentities"]
    assert identity["edges"]["live"] == 2
    assert len(identity["edges"]["closed"]) == 2
    assert not [each for each in whole["serviceIdentities"] if each.get("edges")]


def test_namespace_shows_the_edges_that_only_other_namespaces_list(tmp_path: Path) -> None:
    with serving(tmp_path, objects(PAYMENTS, CHECKOUT, CART, APART)) as served:
        found = json.loads(told(served, "-n", "shop", "-o", "json"))["overview"]
    assert [each["what"] for each in found["halfDeclared"]] == [
        "shop/payments → shop/ledger:https",
        "web/cart → shop/payments:https",
    ]
    assert found["rejected"] == []


def test_unverified_peer_is_no_live_edge_in_either_report(tmp_path: Path) -> None:
    peers = [edge(peer, "Inbound") for peer in ("10.0.0.0/8", "fd00::/8", "pods app=web/x")]
    mine = with_status(
        builders.identity("me"), edges=[*peers, edge("far/web", "Inbound"), edge("a/b", "Outbound")]
    )
    with serving(tmp_path, objects(mine)) as served:
        one = json.loads(told(served, "sid/me", "-n", "shop", "-o", "json"))
        whole = json.loads(told(served, "-o", "json"))
    assert one["serviceIdentities"][0]["edges"]["live"] == 2
    assert whole["overview"]["liveEdges"] == 1


def lines_of(shown: list[Manifest], *others: Manifest) -> list[str]:
    return [entry.what for _, entry in not_live(shown, [*others, *shown])]


def test_peer_does_not_contradict_the_status_of_the_shown_identity() -> None:
    me = with_status(
        builders.identity("me"),
        edges=[edge("web/p", "Inbound"), edge("web/q", "Inbound", "AwaitingCaller", "a", "b")],
    )
    late = edge("shop/me", "Outbound", "AwaitingCallee", "https", "admin")
    peers = [
        with_status(builders.identity("p", "web"), edges=[late]),
        with_status(
            builders.identity("q", "web"),
            edges=[
                edge("shop/me", "Outbound", "AwaitingCallee", "a"),
                edge("shop/me", "Outbound", "Refused", "b"),
            ],
        ),
    ]
    expected = ["web/q → shop/me:a,b", "web/p → shop/me:admin"]
    assert lines_of([me], *peers) == expected
    assert sorted(lines_of([me, *peers])) == sorted(expected)


def test_callee_decides_if_both_sides_are_shown() -> None:
    caller = with_status(builders.identity("caller"), edges=[edge("shop/me", "Outbound")])
    me = with_status(
        builders.identity("me"), edges=[edge("shop/caller", "Inbound", "AwaitingCaller")]
    )
    assert lines_of([caller, me]) == lines_of([me, caller]) == ["shop/caller → shop/me:https"]


def test_edge_without_ports_has_no_colon() -> None:
    portless = edge("shop/web", "Inbound", "Refused") | {"ports": []}
    me = with_status(builders.identity("me"), edges=[portless])
    peer = with_status(builders.identity("web"), edges=[edge("shop/me", "Outbound", "Refused")])
    assert lines_of([me]) == ["shop/web → shop/me"]
    other = edge("shop/web", "Outbound", "Refused") | {"ports": []}
    stale = with_status(builders.identity("cart", "web"), edges=[other])
    assert lines_of([peer], stale) == ["shop/web → shop/me:https", "web/cart → shop/web"]
