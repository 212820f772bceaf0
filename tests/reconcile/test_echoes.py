"""The watch returns the engine's own writes, before or after their answers: no change.

Other changes in the same event still count.
"""

import asyncio
import copy
from collections.abc import Callable

import pytest

from tests.builders import Manifest, accept, call, domain, identity, namespace
from tests.reconcile.serving import Running, Server, running
from troth.planning.moment import Moment
from troth.planning.plan import Plan
from troth.planning.planner import plan
from troth.reconcile.loop import engine
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.world.keys import Key, identity_key
from troth.world.world import World

SHOP = [namespace("shop", domain="production"), domain(), identity("web", calls=[call("payments")])]
PAYMENTS = identity("payments", ports=["https"], accepts=[accept("web")])
SID = Ref("shop", "payments")
POLICY = "NetworkPolicy", Ref("shop", "payments-troth")


class Echoing(Server):
    """Sends the event of every write before it answers, or a moment after."""

    early = True
    tell: Callable[[Manifest], None] = staticmethod(lambda _: None)
    meanwhile: Callable[[Place, Manifest], Manifest] = staticmethod(lambda _, told: told)
    """Changes an object between its write and its event."""

    def _write(self, place: Place, stored: Manifest) -> Manifest:
        answer = super()._write(place, stored)
        event = self.meanwhile(place, copy.deepcopy(answer))
        if self.early:
            self.tell(event)
        else:
            asyncio.get_running_loop().call_soon(self.tell, event)
        return answer


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Key]:
    """Planned keys, one entry for each plan."""
    keys: list[Key] = []

    def counted(key: Key, world: World, moment: Moment) -> Plan:
        keys.append(key)
        return plan(key, world, moment)

    monkeypatch.setattr(engine, "make_plan", counted)
    return keys


def listening(it: Running, server: Echoing) -> None:
    server.tell = it.engine.observe


@pytest.mark.parametrize("early", [True, False])
async def test_new_identity_is_planned_twice(early: bool, planned: list[Key]) -> None:
    server = Echoing(SHOP)
    server.early = early
    async with running(server) as it:
        await it.settle()
        listening(it, server)
        planned.clear()
        await it.put(PAYMENTS)
    assert planned.count(identity_key(SID)) == 2, "for its children, and for its status"


async def test_owned_object_edited_after_the_plan_is_restored() -> None:
    server = Echoing([*SHOP, PAYMENTS])
    async with running(server) as it:
        await it.settle()
        wanted = copy.deepcopy(server.objects[POLICY]["spec"])
        listening(it, server)

        def open_it(place: Place, told: Manifest) -> Manifest:
            """Open the policy while the status is written."""
            if place == ("ServiceIdentity", SID):
                server.meanwhile = lambda _, other: other
                edited = copy.deepcopy(server.objects[POLICY])
                edited["spec"]["ingress"] = [{}]
                it.engine.observe(server.put(edited))
            return told

        server.meanwhile = open_it
        await it.put(identity("payments", ports=["https"]))  # its status changes
        await it.put(PAYMENTS)
    assert server.objects[POLICY]["spec"] == wanted


async def test_spec_changed_while_its_status_is_written_is_planned() -> None:
    server = Echoing(SHOP)
    async with running(server) as it:
        await it.settle()
        listening(it, server)

        def close_it(place: Place, told: Manifest) -> Manifest:
            """Withdraw consent in the same event as the status."""
            if place != ("ServiceIdentity", SID):
                return told
            server.meanwhile = lambda _, other: other
            return server.put({**told, "spec": {**told["spec"], "accepts": []}})

        server.meanwhile = close_it
        await it.put(PAYMENTS)
        await it.settle()
    assert "ingress" not in server.objects[POLICY]["spec"]
    status = server.objects["ServiceIdentity", SID]
    assert status["status"]["observedGeneration"] == status["metadata"]["generation"]


async def test_status_changed_right_after_its_write_is_restored() -> None:
    server = Echoing(SHOP)
    async with running(server) as it:
        await it.settle()
        listening(it, server)

        def wipe_it(place: Place, told: Manifest) -> Manifest:
            """Change the status in the same event."""
            if place != ("ServiceIdentity", SID):
                return told
            server.meanwhile = lambda _, other: other
            return server.put({**told, "status": {**told["status"], "conditions": []}})

        server.meanwhile = wipe_it
        await it.put(PAYMENTS)
        await it.settle()
    assert server.condition("ServiceIdentity", SID, "Ready")["status"] == "True"
