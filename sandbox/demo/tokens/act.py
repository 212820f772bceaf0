"""The token act: an order through three services, forged tokens, and a revoked edge."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from sandbox.demo.cast import CHECKOUT, LEDGER
from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.programs import NAMESPACE
from sandbox.demo.screen import Screen
from sandbox.demo.shop import Place, Shop
from sandbox.demo.tokens import table
from sandbox.demo.tokens.services import KEYS, running
from sandbox.demo.trials import run
from sandbox.node.api import Api
from sandbox.processes import Tether
from troth.edge.outbound.exchange import ExchangeFailedError


def show_tokens(
    screen: Screen, cluster: Cluster, tether: Tether, shop: Shop, issuer: int = 0
) -> bool:
    """Show an order, attacks and a revoked edge; return whether all is as expected.

    `issuer` is the port on loopback of an issuer that runs already.
    """
    screen.title("Tokens: each service knows on whose behalf it is called")
    with ExitStack() as stack, _issuing():
        with screen.step("issuer, services") as say:
            services = stack.enter_context(running(cluster, tether, issuer))
            say("`troth issue` with the chart's rights; three services with troth.edge")
        screen.explain("alice, of the tenant acme, orders at checkout.")
        who = table.clients(services)
        known = table.place_order(services)
        spiffe_ids = {place: client.spiffe_id for place, client in who.items()}
        right = screen.trials(
            list(table.order(known, spiffe_ids)),
            *("caller → callee", "token scopes", "on behalf of", "transaction scopes"),
        )
        screen.explain(f"Request ID of all calls: {known[-1]['request']}")
        screen.title("Attacks with headers and tokens: troth.edge rejects them")
        keys = cluster.secret(Place(NAMESPACE, KEYS))
        attacks = run(table.attacks(services, who, keys))
        right = screen.trials(attacks, "caller → callee", "what it sends", "answer") and right
        screen.title("Revocation: ledger removes checkout from spec.accepts")
        trials = table.revoked(services, who)
        began = time.monotonic()
        with _revoked(cluster, shop):
            results = run(trials, since=began)
        cluster.settled(shop, lambda _part, _whole: None)
        return screen.trials(results, "caller → callee", "what it does", "answer") and right


@contextmanager
def _issuing() -> Iterator[None]:
    try:
        yield
    except ExchangeFailedError as error:
        raise DemoError(f"the issuer rejects a request for a token: {error}") from error


@contextmanager
def _revoked(cluster: Cluster, shop: Shop) -> Iterator[None]:
    """Remove checkout from ledger's `accepts` while the context lasts."""
    accepts = shop.identities[LEDGER]["spec"]["accepts"]
    _declare(cluster, [entry for entry in accepts if _caller(entry) != CHECKOUT])
    try:
        yield
    finally:
        _declare(cluster, accepts)


def _caller(entry: dict[str, Any]) -> Place:
    return Place(entry["from"].get("namespace", LEDGER.namespace), entry["from"]["name"])


def _declare(cluster: Cluster, accepts: list[dict[str, Any]]) -> None:
    path = f"/apis/troth.dev/v1alpha1/namespaces/{LEDGER.namespace}/serviceidentities/{LEDGER.name}"

    async def merge() -> None:
        api = Api.of(cluster.sandbox.kubeconfig)
        try:
            await api.merge(path, {"spec": {"accepts": accepts}})
        finally:
            await api.close()

    asyncio.run(merge())
