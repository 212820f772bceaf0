"""What a copy does whose world is behind, or whom the API server answers with a conflict."""

import asyncio
import copy
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests import virtual_time
from tests.builders import NOW, OWN, Manifest, accept, at, call, domain, identity, namespace
from tests.reconcile.serving import Server, converge, running
from troth.cluster.errors import ApiError
from troth.planning.planner import plan
from troth.planning.steps.certificates import IssueLeaf
from troth.planning.steps.step import Step
from troth.reconcile.apply.execute import Executor
from troth.reconcile.apply.keyring import Keyring
from troth.reconcile.apply.writer import TryAgain
from troth.reconcile.loop.clock import MovableClock
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.world.keys import identity_key

PAYMENTS = identity()
SID = Ref("shop", "payments")
SECRET = "Secret", Ref("shop", "payments-identity")
POLICY = "NetworkPolicy", Ref("shop", "payments-troth")
DECLARED = ("TrustDomain", "ServiceIdentity")
LATER = NOW + timedelta(hours=17)
A_WHILE = 70.0
"""Seconds in which everything that was refused is tried again; they take no time here."""


def shop(server: type[Server] = Server) -> Server:
    return server([namespace("shop", domain="production"), domain(), PAYMENTS])


def is_leaf(step: Step) -> bool:
    return isinstance(step, IssueLeaf)


def conflict() -> ApiError:
    return ApiError(409, "Conflict", "please apply your changes to the latest version")


def test_a_copy_that_is_behind_does_not_replace_what_another_has_issued() -> None:
    async def story() -> None:
        server = shop()
        await converge(server)
        async with running(server) as one, running(server) as behind:
            for each in (one, behind):
                await each.settle()
                await each.clock.move_to(LATER)
            first = server.objects[SECRET]["data"]["tls.crt"]
            one.engine.queue.add([identity_key(SID)])
            await one.settle()
            second = copy.deepcopy(server.objects[SECRET])
            assert second["data"]["tls.crt"] != first
            behind.engine.queue.add([identity_key(SID)])
            await behind.settle()
            assert server.objects[SECRET] == second
            behind.engine.observe(copy.deepcopy(second))
            await behind.settle()
            assert server.objects[SECRET] == second

    virtual_time.run(story())


async def test_what_another_issued_since_it_was_planned_is_not_replaced() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
    world, keyring = it.engine.world, Keyring(OWN)
    keyring.observe(server.objects["Secret", Ref(OWN, "production-authority")])
    secret = server.objects[SECRET]
    world.forget(*SECRET, int(secret["metadata"]["resourceVersion"]) + 1, uptime=0.0)
    (step,) = (each for each in plan(identity_key(SID), world, at(NOW)).steps if is_leaf(each))
    assert isinstance(step, IssueLeaf)
    secret["metadata"]["resourceVersion"] += "000"
    world.observe(copy.deepcopy(secret), uptime=0.0)  # as a watch tells it while the key is made
    with pytest.raises(TryAgain):
        await Executor(server, world, keyring, MovableClock(NOW)).execute(step)
    assert server.objects[SECRET] == secret


async def test_a_copy_that_is_behind_brings_back_nothing_of_what_is_suspended() -> None:
    """Two domains claim the namespace; what stands there is kept, less what is taken back."""
    opened = identity(ports=["https"], accepts=[accept("checkout"), accept("web")])
    server = Server(
        [
            namespace("shop", domain="production"),
            *(domain(), opened),
            *(identity(name, calls=[call("payments")]) for name in ("checkout", "web")),
        ]
    )
    await converge(server)
    async with running(server) as one, running(server) as behind:
        rival = domain("rival", namespaceSelector={"matchLabels": {"domain": "production"}})
        for each in (one, behind):
            await each.settle()
            await each.put(rival)
        await one.put(identity(ports=["https"], accepts=[accept("web")]))
        narrowed = {place: copy.deepcopy(server.objects[place]) for place in (POLICY, SECRET)}
        assert "checkout" not in str(narrowed[POLICY]["spec"])
        behind.engine.observe(server.put(identity(ports=["https"], accepts=[accept("checkout")])))
        await asyncio.sleep(0.05)
        assert {place: server.objects[place] for place in narrowed} == narrowed


def test_a_status_that_met_a_conflict_is_written_again() -> None:
    async def story() -> None:
        server = shop()
        refusals = [conflict()]
        server.refuses = lambda place: (
            refusals.pop() if place == ("ServiceIdentity", SID) and refusals else None
        )
        async with running(server) as it:
            await asyncio.sleep(A_WHILE)
            await it.settle()
            assert refusals == []
            assert server.condition("ServiceIdentity", SID, "Ready")["status"] == "True"

    virtual_time.run(story())


class Speechless(Server):
    """Carries out every write but that of a status, and its watch tells of it, but no answer."""

    tell: Callable[[Manifest], None]

    def _write(self, place: Place, stored: Manifest) -> Manifest:
        answer = super()._write(place, stored)
        if place[0] in DECLARED:
            return answer
        self.tell(copy.deepcopy(answer))
        raise ApiError(0, "ServerDisconnectedError", "the answer was lost")


def test_an_operator_that_hears_no_answer_gets_on_by_what_it_sees() -> None:
    async def story() -> None:
        domains = [namespace(f"shop-{number}", domain="production") for number in range(12)]
        server = Speechless([*domains, domain(tokens={})])
        async with running(server) as it:
            server.tell = it.engine.observe
            await asyncio.sleep(10)  # with a pause that doubles with every write it would be hours
            assert (
                server.condition("TrustDomain", Ref("", "production"), "Ready")["status"] == "True"
            )

    virtual_time.run(story())


class Reluctant(Server):
    """Answers the first removal with a conflict."""

    reluctance = 1

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        if self.reluctance:
            self.reluctance -= 1
            raise conflict()
        return await super().delete(kind, ref, uid)


def test_what_could_not_be_removed_for_a_conflict_is_removed_later() -> None:
    async def story() -> None:
        server = shop(Reluctant)
        async with running(server) as it:
            await it.settle()
            assert POLICY in server.objects
            await it.put(identity(enforcement="Observe"))
            assert POLICY in server.objects
            await asyncio.sleep(A_WHILE)
            await it.settle()
            assert POLICY not in server.objects

    virtual_time.run(story())
