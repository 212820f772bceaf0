"""Peers to which the current `identity.json` grants more than is declared."""

import json
from typing import Any

import pytest

from troth.planning.identity.secret.narrowing import Peering, pending_narrowing
from troth.resources.identity.status import EdgeState
from troth.resources.references import Ref
from troth.trust.declarations.narrowing import Narrowing
from troth.trust.edges.evaluation import Edge

ME, WEB, BATCH, LEDGER = (Ref("shop", name) for name in ("payments", "web", "batch", "ledger"))
IDS = {each: f"spiffe://shop.example/ns/shop/sa/{each.name}" for each in (WEB, BATCH, LEDGER)}
EDGES = (
    Edge(WEB, ME, "https", EdgeState.LIVE),
    Edge(BATCH, ME, "https", EdgeState.LIVE),
    Edge(ME, LEDGER, "https", EdgeState.LIVE),
)
PEERING = Peering(ME, EDGES, IDS)
EVERYBODY = Narrowing(every_caller=True)
OF_WEB = Narrowing(callers=frozenset({WEB}))
NOTHING = Narrowing()


def entry(peer: Ref = WEB, *scopes: str, **more: Any) -> dict[str, Any]:
    port = {"name": "https", "scopes": list(scopes)} | more
    return {"spiffeID": IDS[peer], "ports": [port]}


def document(*accepts: dict[str, Any], **more: Any) -> str:
    return json.dumps({"accepts": list(accepts), "requires": {"context": []}} | more)


def pending(current: str, declared: str) -> Narrowing:
    return pending_narrowing({"identity.json": current}, {"identity.json": declared}, PEERING)


DECLARED = document(entry(WEB, "read"), entry(BATCH))


@pytest.mark.parametrize(
    ("current", "declared", "expected"),
    [
        pytest.param(DECLARED, DECLARED, NOTHING, id="the same"),
        pytest.param(document(entry(WEB)), DECLARED, NOTHING, id="less"),
        pytest.param(document(entry(WEB, "read", "write")), DECLARED, OF_WEB, id="a scope"),
        pytest.param(
            document(entry(WEB, "read", forwards=["tenant"])), DECLARED, OF_WEB, id="a forward"
        ),
        pytest.param(
            document(entry(WEB, "read", name="admin")), DECLARED, OF_WEB, id="another port"
        ),
        pytest.param(
            document(entry(WEB, "read"), entry(WEB, "write")), DECLARED, OF_WEB, id="two entries"
        ),
        pytest.param(
            document({"spiffeID": IDS[WEB], "ports": ["https"]}), DECLARED, OF_WEB, id="no object"
        ),
        pytest.param(document({"spiffeID": IDS[WEB]}), DECLARED, OF_WEB, id="no ports"),
        pytest.param(
            document({"spiffeID": IDS[WEB], "ports": [{"name": "https", "scopes": "read"}]}),
            DECLARED,
            OF_WEB,
            id="scopes that are no list",
        ),
        pytest.param(
            document(entry(WEB, "read")), document(entry(BATCH)), OF_WEB, id="an undeclared entry"
        ),
        pytest.param(
            document(),
            document(requires={"context": ["tenant"]}),
            EVERYBODY,
            id="a context that is newly required",
        ),
        pytest.param(
            document(requires={"context": ["tenant"]}), document(), NOTHING, id="one that is not"
        ),
        pytest.param(
            document(),
            document(requires={"context": [], "token": {"audience": "payments"}}),
            EVERYBODY,
            id="a token that is newly required",
        ),
        pytest.param(
            document(issuers={"abroad": "https://issuer.example"}),
            document(issuers={}),
            EVERYBODY,
            id="an issuer",
        ),
        pytest.param("[" * 4096, DECLARED, EVERYBODY, id="too deep"),
        pytest.param("{", DECLARED, EVERYBODY, id="not JSON"),
        pytest.param("", DECLARED, NOTHING, id="empty"),
    ],
)
def test_entry_wider_than_declared_is_pending(
    current: str, declared: str, expected: Narrowing
) -> None:
    assert pending(current, declared) == expected


def test_caller_without_an_edge_is_not_pending() -> None:
    """Its edge is not live, so every other layer has closed it."""
    other = {"spiffeID": "spiffe://shop.example/ns/shop/sa/gone", "ports": []}
    assert pending(document(other), DECLARED) == NOTHING


def test_callee_under_another_spiffe_id_is_pending() -> None:
    before = document(calls=[{"name": "shop/ledger", "spiffeID": "spiffe://shop.example/old"}])
    after = document(calls=[{"name": "shop/ledger", "spiffeID": IDS[LEDGER]}])
    assert pending(before, after) == Narrowing(callees=frozenset({LEDGER}))
    assert pending(after, after) == NOTHING


@pytest.mark.parametrize("more", [{"paths": ["/a"]}, {"paths": ["/a", "/b"]}])
def test_withdrawn_webhook_endpoint_is_pending(more: dict[str, Any]) -> None:
    def delivered(*paths: str) -> str:
        endpoints = [{"name": "shop/x", "path": path, "workflow": "w"} for path in paths]
        gateway = {"gateway": IDS[WEB], "port": "https", "endpoints": endpoints}
        return document(webhooks=[gateway | {"keys": {"keys": [{"kid": "1"}]}}])

    wider = len(more["paths"]) > 1
    assert pending(delivered(*more["paths"]), delivered("/a")) == (OF_WEB if wider else NOTHING)


def test_intersection_of_narrowings_keeps_what_both_close() -> None:
    both = Narrowing(callers=frozenset({WEB, BATCH}))
    assert both.within(OF_WEB) == OF_WEB
    assert both.within(EVERYBODY) == both
    assert EVERYBODY.within(OF_WEB) == OF_WEB
    assert EVERYBODY.within(EVERYBODY) == EVERYBODY
    assert not both.within(NOTHING)
    assert both.closes(WEB, inbound=True)
    assert not both.closes(WEB, inbound=False)
