"""Two TrustDomains of one SPIFFE trust domain, in the instant of the first root."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests import builders
from tests.builders import OWN, Manifest
from tests.patience import PATIENCE
from tests.reconcile.serving import Running, Server, running
from troth.cluster.errors import ApiError
from troth.reconcile.apply.handlers import authorities
from troth.reconcile.apply.keys.key_material import root_secret
from troth.resources.references import Ref

OLDER, YOUNGER = "production", "zebra"


def declared(name: str) -> Manifest:
    """Return a TrustDomain of the same SPIFFE trust domain; the smaller name is the older one."""
    made = builders.domain(name, domain="prod.example")
    made["metadata"] |= {"creationTimestamp": "2027-01-01T00:00:00Z", "uid": f"uid-{name}"}
    return made


class Slow(Server):
    """Holds up the writes of the younger one's authority until `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived, self.go, self.found = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.loses_answer = False

    async def apply_new(self, manifest: Manifest) -> Manifest:
        if manifest["metadata"]["name"] != f"{YOUNGER}-authority":
            return await super().apply_new(manifest)
        self.arrived.set()
        await self.go.wait()
        answer = await super().apply_new(manifest)
        if self.loses_answer:
            self.loses_answer = False
            raise ApiError(0, "TimeoutError", "came and was not heard of")
        return answer

    async def metadata(self, kind: str, ref: Ref) -> Manifest:
        answer = await super().metadata(kind, ref)
        self.found.set()
        return answer

    def authorities(self) -> list[str]:
        return [ref.name for kind, ref in self.objects if ref.name.endswith("-authority")]


@asynccontextmanager
async def two_workers(server: Server) -> AsyncIterator[Running]:
    async with running(server) as it, asyncio.timeout(PATIENCE):
        second = asyncio.create_task(it.engine.work())
        try:
            yield it
        finally:
            second.cancel()


def reason(server: Server, name: str) -> str:
    status = server.objects["TrustDomain", Ref("", name)].get("status") or {}
    found = (each for each in status.get("conditions", ()) if each["type"] == "AuthorityReady")
    return str(next(found, {"reason": ""})["reason"])


async def until_told(it: Running, **reasons: str) -> None:
    await until(lambda: all(reason(it.server, name) == it_is for name, it_is in reasons.items()))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing tells of a change
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("loses_answer", [False, True])
async def test_older_domain_waits_for_the_write_of_a_root_that_the_younger_one_has_begun(
    loses_answer: bool,
) -> None:
    server = Slow()
    server.loses_answer = loses_answer
    async with two_workers(server) as it:
        it.engine.observe(server.put(declared(YOUNGER)))
        await server.arrived.wait()
        it.engine.observe(server.put(declared(OLDER)))
        await until(lambda: len(it.engine.queue.working) == 2)
        server.go.set()
        if loses_answer:  # its watch is late, too
            await server.found.wait()
            place = "Secret", Ref(OWN, f"{YOUNGER}-authority")
            it.engine.observe(server.objects[place])
        await until_told(it, production="Conflict", zebra="Active")
    assert server.authorities() == [f"{YOUNGER}-authority"]


async def test_older_domain_that_appears_while_a_key_is_generated_gets_the_root(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    loop, begun, go = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def slow(step: Any, now: Any) -> Manifest:
        if step.manifest["metadata"]["name"] == f"{YOUNGER}-authority":
            loop.call_soon_threadsafe(begun.set)
            asyncio.run_coroutine_threadsafe(go.wait(), loop).result(PATIENCE)
        return root_secret(step, now)

    monkeypatch.setattr(authorities, "root_secret", slow)
    async with two_workers(server) as it:
        it.engine.observe(server.put(declared(YOUNGER)))
        await begun.wait()
        it.engine.observe(server.put(declared(OLDER)))
        go.set()
        await until_told(it, production="Active", zebra="Conflict")
    roots = [ref.name for _, ref in server.objects if ref.name.endswith("-authority")]
    assert roots == [f"{OLDER}-authority"]
