"""The garbage collector deletes an identity's objects, and the identity's watch is behind.

Troth must not create for a deleted identity. What it learns from the API server, it takes in.
"""

import copy
from unittest.mock import AsyncMock

import pytest

from tests.builders import Manifest, accept, call, domain, identity, namespace
from tests.reconcile.serving import Running, Server, running
from troth.cluster.errors import ApiError
from troth.resources.references import Ref

WEB, PAYMENTS = Ref("shop", "web"), Ref("shop", "payments")
CALLER = identity("web", calls=[call("payments")])
SHOP = [
    namespace("shop", domain="production"),
    domain(),
    CALLER,
    identity("payments", ports=["https"], accepts=[accept("web")]),
]
POLICY = "NetworkPolicy", Ref("shop", "web-troth")
SECRET = "Secret", Ref("shop", "web-identity")
EGRESS = "NetworkPolicy", Ref("shop", "payments-troth")


def uid_of(server: Server) -> str:
    uid: str = server.objects["ServiceIdentity", WEB]["metadata"]["uid"]
    return uid


async def collected(it: Running) -> None:
    """Delete the caller and its objects; the engine hears only of the objects."""
    await it.settle()
    uid = uid_of(it.server)
    it.server.take_away("ServiceIdentity", WEB)
    it.server.log.clear()
    await it.collect(uid)


@pytest.mark.parametrize("place", [POLICY, SECRET], ids=["policy", "secret"])
async def test_objects_of_a_deleted_identity_are_not_created_again(place: tuple[str, Ref]) -> None:
    server = Server(SHOP)
    async with running(server) as it:
        await collected(it)
        assert place not in server.log
        assert place not in server.objects


async def test_edge_closes_before_the_watch_reports_the_deleted_caller() -> None:
    server = Server(SHOP)
    async with running(server) as it:
        await it.settle()
        assert server.objects[EGRESS]["spec"]["ingress"]
        await collected(it)
        assert not server.objects[EGRESS]["spec"].get("ingress")


async def test_late_report_of_the_deletion_is_no_news() -> None:
    server = Server(SHOP)
    async with running(server) as it:
        await collected(it)
        server.log.clear()
        it.engine.forget("ServiceIdentity", WEB, 10_000)
        await it.settle()
        assert not server.log


async def test_namesake_of_the_deleted_identity_gets_objects_of_its_own() -> None:
    server = Server(SHOP)
    async with running(server) as it:
        await it.settle()
        old = uid_of(server)
        server.take_away("ServiceIdentity", WEB)
        namesake = server.put(copy.deepcopy(CALLER))
        server.log.clear()
        await it.collect(old)
        assert POLICY not in server.log
        it.engine.observe(namesake)
        await it.settle()
        owner: Manifest = server.objects[POLICY]["metadata"]["ownerReferences"][0]
        assert owner["uid"] == uid_of(server) != old


async def test_deleted_policy_is_created_again_if_its_owner_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(SHOP)
    async with running(server) as it:
        await it.settle()
        forbidden = AsyncMock(side_effect=ApiError(403, "Forbidden", ""))
        monkeypatch.setattr(server, "metadata", forbidden)
        await it.drop(*POLICY)
        assert POLICY in server.objects
    forbidden.assert_awaited()


async def test_deleted_policy_is_not_created_again_while_the_api_server_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(SHOP)
    async with running(server) as it:
        await it.settle()
        failed = AsyncMock(side_effect=ApiError(503, "Unavailable", ""))
        monkeypatch.setattr(server, "metadata", failed)
        await it.drop(*POLICY)
        assert POLICY not in server.objects
    failed.assert_awaited()


async def test_deleted_policy_of_a_declared_identity_is_created_again() -> None:
    server = Server(SHOP)
    async with running(server) as it:
        await it.settle()
        await it.drop(*POLICY)
        assert POLICY in server.objects
