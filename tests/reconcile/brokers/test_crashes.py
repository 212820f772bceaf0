"""The operator crashes at any moment, restarts, or runs twice.

The broker has the declared grants, and no credential changes.
"""

import copy
from collections.abc import Awaitable, Callable, Iterable

import pytest

from sandbox.brokers.nats import NatsServer
from tests.broker_builders import publisher
from tests.brokers.nats.stage import Stage, granted, publish, stage
from tests.builders import Manifest
from tests.messaging import policy, producer
from tests.reconcile.brokers.at_work import (
    CHECKOUT,
    CONSUMER,
    EVERY,
    FULFILMENT,
    MAIN,
    ORDERS,
    PUBLISHER,
    AtWork,
    at_work,
    market,
    on,
)
from tests.reconcile.serving import Crashed, Server
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref

CREDENTIALS = [("Secret", Ref("shop", f"{each}-main")) for each in ("checkout", "fulfilment")]
MOST = 60
"""More writes than any test here makes."""
Story = Callable[[Server, Stage], Awaitable[None]]
REFUNDS = policy("refunds", topic={"name": "prod.refunds"}, producers=[producer("checkout")])


class Mortal(Server):
    """Ends the process after a given write: nothing is written after it."""

    def __init__(self, objects: Iterable[Manifest], ends_after: int) -> None:
        super().__init__(objects)
        self.ends_after = ends_after

    def _write(self, place: Place, stored: Manifest) -> Manifest:
        self._live()
        return super()._write(place, stored)

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        self._live()
        return await super().delete(kind, ref, uid)

    def _written(self, place: Place) -> None:
        super()._written(place)
        self._live()

    @property
    def ended(self) -> bool:
        """Whether that write has happened."""
        return 0 < self.ends_after <= len(self.log)

    def _live(self) -> None:
        if self.ended:
            raise Crashed

    def kept(self) -> dict[Place, str]:
        """Return every credential that clients may have read."""
        found = ((each, self.objects.get(each)) for each in CREDENTIALS)
        return {place: secret["data"]["user.creds"] for place, secret in found if secret}


async def grant(server: Server, nats: Stage) -> None:
    async with on(server, nats) as it:
        assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")


async def revoke(server: Server, nats: Stage) -> None:
    async with on(server, nats) as it:
        if ("TopicPolicy", ORDERS) in server.objects:
            await it.delete("TopicPolicy", ORDERS)
        await it.settle()


async def survives(server: Mortal, nats: Stage, story: Story) -> bool:
    """Let the process end during a story; return whether it did before the story was over."""
    try:
        await story(server, nats)
    except (Crashed, AssertionError, KeyError, StopIteration):  # because of the missing writes
        assert server.ended
    ended, server.ends_after = server.ended, 0
    return ended


@pytest.mark.long
async def test_crash_at_any_write_grants_all_and_issues_no_credential_twice(
    nats_server: NatsServer,
) -> None:
    for k in range(1, MOST):
        async with stage(nats_server) as nats:
            server = Mortal(market(nats), k)
            ended = await survives(server, nats, grant)
            issued = server.kept()
            await grant(server, nats)
            assert issued.items() <= server.kept().items(), k
            assert len(server.kept()) == 2
            seen = await nats.broker.observe()
            assert {rule.principal for rule in seen.rules} == {PUBLISHER, CONSUMER}
            assert len(seen.credentials) == 2
        if not ended:
            break
    assert 10 < k < MOST - 1


async def test_crash_at_any_write_still_revokes_all(nats_server: NatsServer) -> None:
    for k in range(1, MOST):
        async with stage(nats_server) as nats:
            server = Mortal(market(nats), 0)
            await grant(server, nats)
            server.ends_after = len(server.log) + k
            ended = await survives(server, nats, revoke)
            await revoke(server, nats)
            assert ("TopicPolicy", ORDERS) not in server.objects
            assert not server.kept()
            seen = await nats.broker.observe()
            assert not seen.rules, k
            assert not seen.credentials, k
        if not ended:
            break
    assert 4 < k < MOST - 1


async def test_second_reconcile_and_restart_write_and_push_nothing(nats: Stage) -> None:
    server = Server(market(nats))
    async with on(server, nats) as it:
        pushes, writes = await nats.pushes(), server.writes
        it.running.engine.queue.add(it.running.engine.world.brokers.everything())
        await it.settle()
        await it.later(3 * EVERY)
        assert (server.writes, await pushes()) == (writes, 0)
    before = copy.deepcopy(server.objects)
    async with on(server, nats) as it:
        await it.later(EVERY)
        assert (server.writes, await pushes()) == (writes, 0)
        assert server.objects == before


async def test_change_during_downtime_is_applied_at_the_next_start(nats: Stage) -> None:
    server = Server(market(nats))
    async with on(server, nats) as it:
        data = it.data(CHECKOUT)
    server.objects.pop(("ServiceIdentity", CHECKOUT))
    for place in [each for each in server.objects if each[1].name.startswith("checkout")]:
        del server.objects[place]
    async with on(server, nats) as it:
        assert not await it.enters(data["user.creds"], data["inbox.prefix"])
        assert {rule.principal for rule in (await nats.broker.observe()).rules} == {CONSUMER}


async def test_stale_copy_revokes_nothing_that_another_copy_granted(
    nats: Stage,
) -> None:
    server = Server(market(nats))
    async with on(server, nats) as one, on(server, nats) as behind:
        for manifest in (REFUNDS, publisher("checkout", "orders", "refunds")):
            await one.put(manifest)
        await observe_objects(behind, ("ServiceIdentity", CHECKOUT))
        wanted = set(granted(publish(PUBLISHER, "prod.refunds")))
        client = await one.client(CHECKOUT)
        pushes = await nats.pushes()
        for _ in range(3):
            await behind.later(EVERY)
        assert wanted <= (await nats.broker.observe()).rules
        assert await pushes() == 0
        assert client.is_connected
        await one.later(EVERY)
        assert await pushes() == 0
        assert wanted <= one.ledger.rules


async def observe_objects(it: AtWork, *places: Place) -> None:
    """Show a copy the current state of some objects and of no others."""
    for place in places:
        it.running.engine.observe(copy.deepcopy(it.server.objects[place]))
    await it.settle()


async def test_copy_without_the_leader_fence_changes_nothing_at_the_broker(nats: Stage) -> None:
    pushes = await nats.pushes()
    async with at_work(nats, market(nats)) as it:
        assert it.data(FULFILMENT)
        before = await pushes()
        assert before
        it.running.engine._leader_fence.remaining = 0.0  # type: ignore[misc]
        it.running.engine.observe(it.server.put(publisher("checkout", "none")))
        await it.running.clock.move_to(it.running.clock.now() + EVERY)
        for _ in range(50):
            await it.running.engine.background.settled()  # type: ignore[attr-defined]
        assert await pushes() == before
