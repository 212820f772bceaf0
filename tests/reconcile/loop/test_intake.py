"""An unreadable object is reported, and stops neither the engine nor other objects."""

from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from tests import builders
from tests.builders import OWN, Manifest, accept, call, domain, identity, namespace
from tests.reconcile.serving import Running, Server, converge, running
from troth.reconcile.apply import intake
from troth.reconcile.apply.keys.keyring import Keyring
from troth.resources.references import Ref
from troth.world.change import Change
from troth.world.facts.objects import UNREADABLE
from troth.world.world import HANDLERS

WHY = "spec.calls: nested deeper than 128 levels; remove levels from it"
PAYMENTS = identity("payments", ports=["https"], accepts=[accept("checkout")])
CHECKOUT = identity("checkout", calls=[call("payments")])
IDENTITY, SECRET = "ServiceIdentity", ("Secret", Ref("shop", "checkout-identity"))
AUTHORITY = "Secret", Ref(OWN, "production-authority")


@pytest.fixture(autouse=True)
def fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    structlog.reset_defaults()
    monkeypatch.setattr(intake, "log", structlog.get_logger())


def shop() -> Server:
    return Server([namespace("shop", domain="production"), domain(), PAYMENTS, CHECKOUT])


def ready(it: Running, name: str) -> tuple[str, str, str]:
    found = it.server.condition(IDENTITY, Ref("shop", name), "Ready")
    return found["status"], found["reason"], found["message"]


def edges(it: Running, name: str) -> list[str]:
    status = it.server.objects[IDENTITY, Ref("shop", name)]["status"]
    return [each["state"] for each in status["edges"]]


async def test_unreadable_resource_is_reported_once_and_its_grants_suspended() -> None:
    server = shop()
    await converge(server)
    async with running(server) as it:
        await it.settle()
        with capture_logs() as lines:
            await it.put(CHECKOUT | {UNREADABLE: WHY})
        warnings = [line for line in lines if line["event"] == "object unreadable"]
        assert (IDENTITY, "shop/checkout", WHY) in [
            (line["kind"], line["object"], line["why"]) for line in warnings
        ]
        assert ready(it, "checkout") == ("False", "InvalidSpec", WHY)
        assert edges(it, "payments") == ["Suspended"]
        server.log.clear()
        for key in it.engine.world.everything():
            it.engine.queue.add({key})
        await it.settle()
        assert server.log == []
        del server.objects[IDENTITY, Ref("shop", "checkout")][UNREADABLE]
        await it.put(CHECKOUT)
        assert ready(it, "checkout")[0] == "True"
        assert edges(it, "payments") == ["Live"]


async def test_object_whose_handler_fails_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    server = shop()
    await converge(server)
    take = HANDLERS[IDENTITY]

    def failing(world: Any, change: Change) -> Any:
        affected, manifest = take(world, change), change.manifest
        if change.ref.name == "checkout" and manifest is not None and UNREADABLE not in manifest:
            raise AttributeError("hunter2")
        return affected

    async with running(server) as it:
        await it.settle()
        monkeypatch.setitem(HANDLERS, IDENTITY, failing)
        with capture_logs() as lines:
            await it.put(CHECKOUT)
        assert "hunter2" not in str(lines)
        status, reason, message = ready(it, "checkout")
        assert (status, reason) == ("False", "InvalidSpec")
        assert "AttributeError" in message
        assert edges(it, "payments") == ["Suspended"]
        monkeypatch.undo()
        await it.put(identity("checkout", calls=[call("payments")], account="other"))
        assert ready(it, "checkout")[0] == "True"


async def test_secret_on_which_the_keyring_fails_signs_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = shop()
    await converge(server)
    observe = Keyring.observe

    def failing(keyring: Keyring, secret: Manifest) -> None:
        observe(keyring, secret)
        if Ref.of(secret) == AUTHORITY[1]:
            raise KeyError("hunter2")

    async with running(server) as it:
        await it.settle()
        before = server.objects[SECRET]["data"]
        monkeypatch.setattr(Keyring, "observe", failing)
        with capture_logs() as lines:
            await it.put({**server.objects[AUTHORITY]})
        assert "hunter2" not in str(lines)
        assert ("Secret", AUTHORITY[1]) in it.engine.world.quarantined
        assert it.engine._keyring.signer(AUTHORITY[1], "production.example") is None
        told = server.condition("TrustDomain", Ref("", "production"), "Ready")
        assert told["status"] == "False"
        assert server.objects[SECRET]["data"] == before
        monkeypatch.undo()
        await it.put({**server.objects[AUTHORITY]})
        assert it.engine.world.quarantined == {}
        assert ready(it, "checkout")[0] == "True"


async def test_identity_is_issued_a_certificate_beside_an_unreadable_secret() -> None:
    server = shop()
    await converge(server)
    async with running(server) as it:
        await it.settle()
        await it.put(builders.secret("stray", "shop") | {UNREADABLE: WHY})
        await it.put(identity("bystander"))
        assert ready(it, "bystander")[0] == "True"
        assert it.engine.world.quarantined == {("Secret", Ref("shop", "stray")): WHY}
