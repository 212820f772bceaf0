"""A NATS that is down: no change is lost, and a status names what Troth waits for."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from sandbox.brokers.nats import NatsServer
from sandbox.errors import SandboxError
from tests.brokers.nats.stage import Stage
from tests.builders import Manifest
from tests.reconcile.brokers.at_work import (
    CHECKOUT,
    CONSUMER,
    EVERY,
    FULFILMENT,
    LEDGER,
    MAIN,
    ORDERS,
    PUBLISHER,
    AtWork,
    at_work,
    market,
    on,
)
from tests.reconcile.serving import Server
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.world.observation.ledger import kept_ledger

SECRET = ("Secret", Ref("shop", "checkout-main"))


class Downfall(Server):
    """Stops the broker right after the first write of an object that `such` selects."""

    def __init__(
        self, objects: list[Manifest], stage: Stage, such: Callable[[Place, Manifest], bool]
    ) -> None:
        super().__init__(objects)
        self._stage = stage
        self._such = such
        self.down = False

    def _write(self, place: Place, stored: Manifest) -> Manifest:
        answer = super()._write(place, stored)
        if not self.down and self._such(place, stored):
            self.down = True
            self._stage.server.stop(grace=0)
        return answer


def has_rules(place: Place, stored: Manifest) -> bool:
    return place == ("ConfigMap", LEDGER) and bool(kept_ledger(stored).ledger.rules)


def is_credential(place: Place, _: Manifest) -> bool:
    return place == SECRET


@pytest.fixture
def served(nats_server: NatsServer) -> Iterator[NatsServer]:
    """The NATS server, restarted after a test that stops it."""
    yield nats_server
    with suppress(SandboxError):  # already stopped
        nats_server.stop(grace=0)
    nats_server.restart()


async def all_granted(it: AtWork) -> None:
    assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")
    assert it.condition_of("TopicPolicy", ORDERS, "Ready")[:2] == ("True", "InPlace")
    assert {each[2] for each in it.grants()} == {"InSync"}
    for identity in (CHECKOUT, FULFILMENT):
        await (await it.client(identity)).close()


async def test_broker_down_at_the_start_gets_all_grants_once_it_is_up(
    nats: Stage, served: NatsServer
) -> None:
    served.stop(grace=0)
    async with at_work(nats, market(nats)) as it:
        status, reason, message = it.condition_of("MessageBroker", MAIN, "Reachable")
        assert (status, reason) == ("False", "Unreachable")
        assert "cannot be reached" in message
        assert it.condition_of("MessageBroker", MAIN, "Ready")[0] == "False"
        assert {each[3] for each in it.grants()} == {"BrokerUnreachable"}
        assert "cannot be reached" in it.condition_of("TopicPolicy", ORDERS, "GrantsInSync")[2]
        served.restart()
        await it.later(EVERY)
        await all_granted(it)


async def test_broker_that_is_down_is_retried_with_backoff_and_one_status(
    nats: Stage, served: NatsServer
) -> None:
    served.stop(grace=0)
    async with at_work(nats, market(nats)) as it:
        looks, written = [], it.server.log
        written.clear()
        for _ in range(30):
            await it.later(timedelta(seconds=1))
            looks.append(it.running.engine.world.brokers.observation(MAIN).attempts)
        assert looks[-1] == 5  # after 0, 1, 3, 7 and 15 seconds
        waiting = [("ServiceIdentity", each) for each in (CHECKOUT, FULFILMENT)]
        assert sorted(written) == [("MessageBroker", MAIN), *waiting]  # it stalls, they wait


async def test_changes_recorded_before_an_outage_are_applied_after_it(
    nats: Stage, served: NatsServer
) -> None:
    server = Downfall(market(nats), nats, has_rules)
    async with on(server, nats) as it:
        assert server.down
        assert it.ledger.rules
        assert set(it.ledger.credentials.values()) == {""}  # in progress, not known to be applied
        assert it.condition_of("MessageBroker", MAIN, "Reachable")[:2] == ("False", "Unreachable")
        issued = it.data(CHECKOUT)
        served.restart()
        await it.later(EVERY)
        await all_granted(it)
        assert it.data(CHECKOUT) == issued
        assert "" not in it.ledger.credentials.values()
        assert it.notes("Repaired") == [
            "the broker differed from what is declared; Troth restored it"
        ]


async def test_credential_issued_before_an_outage_works_after_it(
    nats: Stage, served: NatsServer
) -> None:
    server = Downfall(market(nats), nats, is_credential)
    async with on(server, nats) as it:
        assert server.down
        issued = it.data(CHECKOUT)
        served.restart()
        await it.later(EVERY)
        await all_granted(it)
        assert it.data(CHECKOUT) == issued


async def test_revocation_during_an_outage_is_applied_after_it(
    nats: Stage, served: NatsServer
) -> None:
    async with at_work(nats, market(nats)) as it:
        data = it.data(CHECKOUT)
        served.stop(grace=0)
        await it.delete("TopicPolicy", ORDERS)
        assert it.condition_of("TopicPolicy", ORDERS, "GrantsInSync")[1] in {
            "Revoking",
            "BrokerUnreachable",
        }
        assert ("TopicPolicy", ORDERS) in it.server.objects
        served.restart()
        await it.later(EVERY)
        assert ("TopicPolicy", ORDERS) not in it.server.objects
        assert not it.ledger.rules
        assert not it.ledger.credentials
        assert not await it.enters(data["user.creds"], data["inbox.prefix"])


async def test_permanently_lost_broker_does_not_block_policy_deletion(
    nats: Stage, served: NatsServer
) -> None:
    async with at_work(nats, market(nats)) as it:
        data, granted = it.data(CHECKOUT), it.ledger
        served.stop(grace=0)
        await it.later(2 * EVERY)
        await it.delete("TopicPolicy", ORDERS, it.running.clock.now())
        await it.later(timedelta(minutes=9))
        assert it.condition_of("TopicPolicy", ORDERS, "GrantsInSync")[1] == "BrokerUnreachable"
        await it.later(timedelta(minutes=2))
        assert ("TopicPolicy", ORDERS) not in it.server.objects
        (left,) = it.notes("LeftBehind")
        assert "Publish prod.orders.v1 by shop/checkout" in left
        assert "the credential of shop/fulfilment" in left
        assert it.ledger == granted  # it stays, to revoke everything if the broker returns
        served.restart()
        await it.later(timedelta(minutes=1))
        assert not it.ledger.rules
        assert not await it.enters(data["user.creds"], data["inbox.prefix"])


async def test_permanently_lost_broker_can_be_deleted_with_its_policies(
    nats: Stage, served: NatsServer
) -> None:
    async with at_work(nats, market(nats)) as it:
        served.stop(grace=0)
        await it.later(2 * EVERY)
        deleted = it.running.clock.now()
        await it.delete("MessageBroker", MAIN, deleted)
        await it.delete("TopicPolicy", ORDERS, deleted)
        await it.later(timedelta(minutes=9))
        assert {("TopicPolicy", ORDERS), ("MessageBroker", MAIN)} <= it.server.objects.keys()
        assert it.condition_of("MessageBroker", MAIN, "Reachable")[:2] == ("False", "Unreachable")
        await it.later(timedelta(minutes=2))
        assert ("TopicPolicy", ORDERS) not in it.server.objects
        assert ("MessageBroker", MAIN) not in it.server.objects
        left = " ".join(it.notes("LeftBehind"))
        assert PUBLISHER in left
        assert CONSUMER in left
        assert ("ConfigMap", LEDGER) not in it.server.objects
        assert SECRET not in it.server.objects
