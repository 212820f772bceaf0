"""An edge is taken back: when the issuer gives no token for it, and what old ones are good for."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sandbox.demo.cast import CHECKOUT, LEDGER
from sandbox.demo.chain import Chain
from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.posing import Answered, Poser
from sandbox.demo.shop import Place, Shop
from sandbox.demo.token_trials import PATHS, STARTED, TENANT, USER
from sandbox.node.api import Api
from troth.edge.outbound.exchange import ExchangeFailedError

CALLER, CALLEE = CHECKOUT, LEDGER
WITHIN = 5.0
"""Seconds in which the issuer must refuse."""
PATIENCE = 15.0
PAUSE = 0.02

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Revocation:
    """What became of an edge that is taken back.

    `issuer` and `callee` are how many seconds later each refused, the issuer's infinite if it did
    not; `error` is the issuer's answer, and `held` the callee's last one to a token from before.
    """

    issuer: float
    error: str
    callee: float
    held: Answered

    @property
    def issuer_is_wrong(self) -> bool:
        """Whether tokens went on being issued."""
        return self.issuer > WITHIN or not self.error.startswith("invalid_target")

    @property
    def callee_is_wrong(self) -> bool:
        """Whether the callee goes on taking the token that the caller still has."""
        return self.held.code != "caller-not-accepted"

    @property
    def is_wrong(self) -> bool:
        """Whether one of the two is."""
        return self.issuer_is_wrong or self.callee_is_wrong


def revoke(cluster: Cluster, chain: Chain, shop: Shop) -> Revocation:
    """Have the callee accept the caller no more, look what becomes of it, and put it back.

    Raises `DemoError` if the edge is not open before, or does not open again.
    """
    caller, callee = (Poser(chain.files(place), chain.issuer) for place in (CALLER, CALLEE))
    token = caller.token(callee.spiffe_id)
    headers = {
        "Authorization": f"Bearer {token}",
        "Txn-Token": caller.transaction(USER, TENANT, STARTED),
    }

    def ask() -> str:
        try:
            caller.token(callee.spiffe_id)
        except ExchangeFailedError as error:
            return str(error).removeprefix("it answered ")
        return ""

    def call() -> Answered:
        port = chain.services[CALLEE]
        return caller.send("GET", PATHS[CALLEE], headers, port=port, callee=callee.spiffe_id)

    if (before := call()).code:
        raise DemoError(f"{CALLEE} refuses {CALLER} before anything is taken back: {before.code}")
    began = time.monotonic()
    with _taken_back(cluster, shop):
        error = _until(ask, bool)
        issuer = time.monotonic() - began if error else float("inf")
        held = _until(call, lambda answer: bool(answer.code))
        later = time.monotonic() - began
    cluster.settled(shop, lambda _part, _whole: None)
    return Revocation(issuer, error, later, held)


@contextmanager
def _taken_back(cluster: Cluster, shop: Shop) -> Iterator[None]:
    """Take the callee's entry for the caller away while the context lasts."""
    accepts = shop.identities[CALLEE]["spec"]["accepts"]
    kept = [entry for entry in accepts if _accepted(entry) != CALLER]
    _declare(cluster, kept)
    try:
        yield
    finally:
        _declare(cluster, accepts)


def _accepted(entry: dict[str, Any]) -> Place:
    return Place(entry["from"].get("namespace", CALLEE.namespace), entry["from"]["name"])


def _declare(cluster: Cluster, accepts: list[dict[str, Any]]) -> None:
    path = f"/apis/troth.dev/v1alpha1/namespaces/{CALLEE.namespace}/serviceidentities/{CALLEE.name}"

    async def merge() -> None:
        api = Api.of(cluster.sandbox.kubeconfig)
        try:
            await api.merge(path, {"spec": {"accepts": accepts}})
        finally:
            await api.close()

    asyncio.run(merge())


def _until(ask: Callable[[], T], done: Callable[[T], bool]) -> T:
    """Ask until an answer will do; return the last one, whatever it is, when patience is over."""
    deadline = time.monotonic() + PATIENCE
    while not done(answer := ask()) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return answer
