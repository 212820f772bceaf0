"""The operator writes what a broker shows of its security, and rules find what is wrong there."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from sandbox.brokers.nats import account_creds
from tests.audit.broker_scene import pod
from tests.audit.pages import evaluated
from tests.brokers.nats.stage import Stage
from tests.brokers.relays import relay
from tests.builders import NOW, Manifest, stamp
from tests.reconcile.brokers.at_work import EVERY, MAIN, Working, at_work, market, working
from tests.reconcile.memory_brokers import MemoryBroker, in_memory
from tests.reconcile.serving import Server
from tests.reconcile.status.test_debounce import BROKER, KAFKA, MARKET
from troth.audit.evaluation import Evaluation
from troth.audit.rule import Rule
from troth.audit.rules.brokers import foreign_rights, wildcard_rights
from troth.audit.rules.credentials import shared_broker_login
from troth.audit.scene import scene_of
from troth.brokers.errors import AdminRefusedError, BrokerError, UnreachableError
from troth.resources.messaging.observed_broker import Aspect, Exposure, ObservedClient
from troth.trust.grants import Observed

SERVERS = tuple(KAFKA["bootstrapServers"])
OBJECTS = [*MARKET, BROKER]
QUICK = [*MARKET, {**BROKER, "spec": {**BROKER["spec"], "driftCheck": "10s"}}]


class Shown(MemoryBroker):
    """Broker whose clients change; it is away if told so."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[set[str]] = []
        self.away = False

    async def observe(self) -> Observed:
        if self.away:
            raise UnreachableError("nobody answers")
        return await super().observe()

    async def exposure(self, groups: Collection[str]) -> Exposure:
        self.groups.append(set(groups))
        return await super().exposure(groups)

    def show(self, *addresses: str) -> None:
        client = ObservedClient(group="fulfilment", addresses=addresses)
        self.exposed = Exposure(clients=(client,))


@asynccontextmanager
async def at_memory(
    broker: MemoryBroker, objects: list[Manifest] = OBJECTS
) -> AsyncIterator[Working]:
    with in_memory() as brokers:
        brokers.known[SERVERS] = broker
        async with working(Server(objects)) as it:
            yield it


def stored(it: Working) -> Manifest:
    found: Manifest = it.server.objects["MessageBroker", MAIN]
    return found


def status(it: Working) -> dict[str, Any]:
    found: dict[str, Any] = stored(it)["status"]["observed"]
    return found


def addresses(it: Working) -> list[str]:
    found: list[str] = status(it)["clients"][0]["addresses"]
    return found


def judged(rule: Rule, it: Working, *pods: Manifest) -> Evaluation:
    """Return the evaluation of a rule in the cluster, with these pods."""
    kinds = ("Namespace", "TrustDomain", "ServiceIdentity", "TopicPolicy", "MessageBroker")
    objects = [each for (kind, _), each in it.server.objects.items() if kind in kinds]
    return evaluated(rule, scene_of([*objects, *pods], NOW, in_cluster=True))


async def test_groups_of_all_policies_are_looked_at() -> None:
    shown = Shown()
    shown.show("10.0.0.1")
    async with at_memory(shown) as it:
        assert shown.groups[-1] == {"fulfilment"}
        assert addresses(it) == ["10.0.0.1"]


async def test_clients_that_come_and_go_cause_a_write_a_minute_at_most() -> None:
    shown = Shown()
    shown.show("10.0.0.0")
    async with at_memory(shown, QUICK) as it:
        before = it.server.writes
        for number in range(1, 31):
            shown.show(f"10.0.0.{number}")
            await it.later(timedelta(seconds=10))
        assert it.server.writes - before == 5
        quiet = it.server.writes
        for _ in range(30):
            await it.later(timedelta(seconds=10))
        assert addresses(it) == ["10.0.0.30"]
        assert it.server.writes - quiet <= 1


async def test_observation_keeps_its_time_while_the_broker_is_away() -> None:
    shown = Shown()
    shown.show("10.0.0.1")
    async with at_memory(shown) as it:
        assert status(it)["observedAt"] == stamp(NOW)
        shown.away = True
        shown.show("10.0.0.2")
        await it.later(3 * EVERY)
        assert it.condition_of("MessageBroker", MAIN, "Reachable")[:2] == ("False", "Unreachable")
        assert (addresses(it), status(it)["observedAt"]) == (["10.0.0.1"], stamp(NOW))
        (unseen,) = judged(foreign_rights.RULE, it).unseen
        assert unseen.kinds == (f"broker {MAIN}",)
        assert "nobody answers" in unseen.reason
        shown.away = False
        await it.later(3 * EVERY)
        assert addresses(it) == ["10.0.0.2"]
        assert not judged(foreign_rights.RULE, it).unseen


@pytest.mark.parametrize(
    "error", [AdminRefusedError("it may not do this"), UnreachableError("nobody answers")]
)
async def test_broker_that_shows_nothing_is_administered_and_hides_everything(
    error: BrokerError,
) -> None:
    shown = Shown()
    shown.exposed = error
    async with at_memory(shown) as it:
        assert {state for _, _, state, _ in it.grants()} == {"InSync"}
        assert {each["aspect"] for each in status(it)["hidden"]} == set(Aspect)
        (unseen,) = judged(foreign_rights.RULE, it).unseen
        assert str(error) in unseen.reason


async def test_broker_that_never_answers_about_its_security_is_administered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Hanging(Shown):
        async def exposure(self, groups: Collection[str]) -> Exposure:
            await asyncio.Event().wait()
            return await super().exposure(groups)

    monkeypatch.setattr("troth.reconcile.brokers.work.EXPOSURE_PATIENCE", 0.01)
    async with at_memory(Hanging()) as it:
        assert {state for _, _, state, _ in it.grants()} == {"InSync"}
        assert "timed out" in status(it)["hidden"][0]["reason"]


async def test_shared_login_at_nats_is_found_from_two_addresses(nats: Stage) -> None:
    """Covers the whole path: connections, the status, and the rule with the pods."""
    async with at_work(nats, market(nats, administrators=[])) as it:
        creds = account_creds("reports", nats.account)
        async with relay(nats.server.address, "127.0.0.2") as elsewhere:
            await nats.enter(creds, "_INBOX")
            await nats.enter(creds, "_INBOX", at=f"tls://{elsewhere}")
            await it.later(2 * EVERY)
        pods = (pod("orders", "127.0.0.1"), pod("reports", "127.0.0.2", "finance"))
        (finding,) = judged(shared_broker_login.RULE, it, *pods).findings
        assert "Deployment finance/reports, Deployment shop/orders" in finding.message
        (wildcard,) = judged(wildcard_rights.RULE, it).findings
        assert wildcard.about == finding.about
        text = str(stored(it)["status"]) + str(finding) + str(wildcard)
        secrets = [line for line in creds.splitlines() if line.startswith(("eyJ", "SU"))]
        assert len(secrets) == 2
        assert not any(each in text for each in secrets)
