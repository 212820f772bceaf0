"""Copies with a stale view, and writes that the API server answers with a conflict."""

import asyncio
import copy
from collections.abc import Callable
from datetime import timedelta

import pytest

from tests import virtual_time
from tests.builders import NOW, OWN, Manifest, accept, at, call, domain, identity, namespace
from tests.pki import builders as pki
from tests.reconcile.serving import Server, converge, running
from troth.cluster.errors import ApiError
from troth.planning.planner import plan
from troth.planning.steps.certificates import IssueLeaf
from troth.planning.steps.step import Step
from troth.reconcile.apply.execute import Executor
from troth.reconcile.apply.keys.keyring import Keyring
from troth.reconcile.apply.writer import TryAgain
from troth.reconcile.rehearsal import Place
from troth.reconcile.runtime.clock import MovableClock
from troth.resources.references import Ref
from troth.world.keys import identity_key

PAYMENTS = identity()
SID = Ref("shop", "payments")
SECRET = "Secret", Ref("shop", "payments-identity")
POLICY = "NetworkPolicy", Ref("shop", "payments-troth")
DECLARED = ("TrustDomain", "ServiceIdentity")
LATER = NOW + timedelta(hours=17)
A_WHILE = 70.0
"""Virtual seconds, long enough to retry every refused write."""


def shop(server: type[Server] = Server) -> Server:
    return server([namespace("shop", domain="production"), domain(), PAYMENTS])


def is_leaf(step: Step) -> bool:
    return isinstance(step, IssueLeaf)


def conflict() -> ApiError:
    return ApiError(409, "Conflict", "please apply your changes to the latest version")


def test_stale_copy_does_not_replace_what_another_copy_issued() -> None:
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


async def test_certificate_issued_by_another_copy_after_the_plan_is_kept() -> None:
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
    world.observe(
        copy.deepcopy(secret), uptime=0.0
    )  # the watch event arrives while the key is generated
    clock, key = MovableClock(NOW), pki.key(step.algorithm)
    executor = Executor(server, world, keyring, clock, private_key=lambda *_: key)
    with pytest.raises(TryAgain):
        await executor.execute(step)
    assert server.objects[SECRET] == secret


async def test_stale_copy_restores_nothing_while_suspended() -> None:
    """Two domains claim the namespace: objects stay, minus what is revoked."""
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


def test_status_write_that_meets_a_conflict_is_retried() -> None:
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
    """Executes every write and sends its event, but answers only writes of statuses."""

    tell: Callable[[Manifest], None]

    def _write(self, place: Place, stored: Manifest) -> Manifest:
        answer = super()._write(place, stored)
        if place[0] in DECLARED:
            return answer
        self.tell(copy.deepcopy(answer))
        raise ApiError(0, "ServerDisconnectedError", "the answer was lost")


def test_operator_without_answers_progresses_by_its_watch() -> None:
    async def story() -> None:
        domains = [namespace(f"shop-{number}", domain="production") for number in range(12)]
        server = Speechless([*domains, domain(tokens={})])
        async with running(server) as it:
            server.tell = it.engine.observe
            await asyncio.sleep(10)  # if the pause doubled with every write, it would take hours
            assert (
                server.condition("TrustDomain", Ref("", "production"), "Ready")["status"] == "True"
            )

    virtual_time.run(story())


class Reluctant(Server):
    """Answers the first deletion with a conflict."""

    reluctance = 1

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        if self.reluctance:
            self.reluctance -= 1
            raise conflict()
        return await super().delete(kind, ref, uid)


def test_deletion_that_meets_a_conflict_is_retried() -> None:
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
