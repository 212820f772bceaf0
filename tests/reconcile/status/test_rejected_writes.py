"""A refused write shows in Ready and in a metric, and no message quotes a Secret."""

import copy
import itertools
import json
from datetime import timedelta
from typing import Any

import pytest

from tests.builders import NOW, OWN, Manifest, accept, call, domain, identity, namespace
from tests.reconcile.serving import Server, running
from troth.cluster.errors import LONGEST, STORE_FULL, ApiError
from troth.planning.steps.authorities import DropSlots
from troth.reconcile.apply.execute import Executor
from troth.reconcile.apply.writer import TryAgain
from troth.reconcile.status import rejected_writes as refusals
from troth.reconcile.status.rejection_text import essence
from troth.resources.references import Ref
from troth.world.keys import identity_key

PAYMENTS = Ref("shop", "payments")
SECRET = "Secret", Ref("shop", "payments-identity")
POLICY = "NetworkPolicy", Ref("shop", "payments-troth")
IDENTITY = "ServiceIdentity", PAYMENTS
AUTHORITY = "Secret", Ref(OWN, "production-authority")
QUOTED = "c2VjcmV0"


class Stubborn(Server):
    """Refuses deletions too."""

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        refusal = self.refuses((kind, ref))
        if refusal is not None:
            raise refusal
        return await super().delete(kind, ref, uid)


def shop() -> Stubborn:
    return Stubborn(
        [
            namespace("shop", domain="production"),
            domain(),
            identity("payments", ports=["https"], accepts=[accept("web")]),
            identity("web", calls=[call("payments")]),
        ]
    )


def refusing(place: tuple[str, Ref], message: str, status: int = 422) -> Any:
    return lambda asked: ApiError(status, "Invalid", message) if asked == place else None


BY_POLICY = (
    "secrets \"payments-identity\" is forbidden: ValidatingAdmissionPolicy 'frozen' with binding "
    f"'frozen-shop' denied request: {QUOTED}"
)
BY_WEBHOOK = f'admission webhook "guard.example.com" denied the request: {QUOTED}'
INVALID = 'Secret "payments-identity" is invalid: data'
UNCALLED = (
    'Internal error occurred: failed calling webhook "guard.example.com": failed to call webhook: '
    f"an error on the server ({QUOTED}) has prevented the request from succeeding"
)
FAILED_MUTATION = (
    "policy 'frozen' with binding 'frozen-shop' denied request: JSON Patch: error in remove for "
    f"path: '/data/{QUOTED}': Unable to remove nonexistent key"
)
IMMUTABLE = f"{INVALID}: Forbidden: field is immutable when `immutable` is set: {QUOTED}"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (BY_POLICY, "ValidatingAdmissionPolicy frozen with binding frozen-shop denies it"),
        (BY_WEBHOOK, "the admission webhook guard.example.com denies it"),
        (UNCALLED, "the API server cannot call the admission webhook guard.example.com"),
        (FAILED_MUTATION, "MutatingAdmissionPolicy frozen with binding frozen-shop cannot change"),
        (IMMUTABLE, "it is immutable"),
        (f"{INVALID}: Too long: may not be {QUOTED}", "size limit of 1 MiB"),
        (f"{INVALID}[x]: {QUOTED}", "422 Invalid"),
    ],
)
async def test_cause_of_a_refusal_is_reported_without_quoted_data(message: str, told: str) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        server.refuses = refusing(SECRET, message)
        await it.put(identity("payments", ports=["https"]))
    ready = server.condition(*IDENTITY, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "WriteRefused")
    assert "Secret shop/payments-identity" in ready["message"]
    assert told in ready["message"]
    assert QUOTED not in json.dumps([server.objects[IDENTITY], server.events])


async def test_full_etcd_is_reported_once_something_can_be_written() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        full = ApiError(500, STORE_FULL, f"etcdserver: mvcc: database space exceeded {QUOTED}")
        server.refuses = lambda asked: full if asked == SECRET else None
        await it.put(identity("payments", ports=["https"]))
    ready = server.condition(*IDENTITY, "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "WriteRefused")
    assert "disarm its NOSPACE alarm" in ready["message"]
    assert QUOTED not in ready["message"]


async def said_of_the_policy(error: ApiError) -> str:
    """Return what `Ready` says if the API server rejects a NetworkPolicy with this error."""
    server = shop()
    async with running(server) as it:
        await it.settle()
        server.refuses = lambda asked: error if asked == POLICY else None
        await it.put(identity("payments", ports=["https"]))
    message: str = server.condition(*IDENTITY, "Ready")["message"]
    return message


async def test_message_of_an_admission_is_part_of_the_condition() -> None:
    message = await said_of_the_policy(ApiError(422, "Invalid", BY_POLICY))
    assert "ValidatingAdmissionPolicy frozen with binding frozen-shop denies it" in message
    assert f"({BY_POLICY})" in message


async def test_message_of_an_admission_is_shortened_to_one_line() -> None:
    long = "no policy without an owner\n" + "\x1b[31m" + "x" * 100_000
    message = await said_of_the_policy(ApiError(403, "Forbidden", long))
    assert ": no policy without an owner ?[31mxxx" in message
    assert message.isprintable()
    assert len(message) < LONGEST + 100


async def test_secret_that_admission_makes_invalid_is_reported_with_its_fields() -> None:
    server = shop()
    error = ApiError(422, "Invalid", f"{INVALID}: {QUOTED}", ("data[tls.key]",))
    async with running(server) as it:
        await it.settle()
        server.refuses = lambda asked: error if asked == SECRET else None
        await it.put(identity("payments", ports=["https"]))
    message = server.condition(*IDENTITY, "Ready")["message"]
    assert "422 Invalid in data[tls.key]; find the mutating admission policy or webhook" in message
    assert QUOTED not in json.dumps([server.objects[IDENTITY], server.events])


async def test_message_that_differs_in_numbers_alone_changes_no_status() -> None:
    server, ports = shop(), itertools.count(40_000)

    def refuse(asked: tuple[str, Ref]) -> ApiError | None:
        said = f"read tcp 10.0.0.1:{next(ports)}->10.0.0.2:443: connection reset by peer"
        return ApiError(500, "InternalError", said) if asked == POLICY else None

    async with running(server) as it:
        await it.settle()
        server.refuses = refuse
        await it.put(identity("payments", ports=["https"]))
        server.log.clear()
        for _ in range(3):
            it.engine.queue.add([identity_key(PAYMENTS)])
            await it.settle()
        assert server.log == []


@pytest.mark.parametrize("place", [POLICY, SECRET], ids=["NetworkPolicy", "Secret"])
async def test_refusal_by_a_policy_of_another_number_is_reported(place: tuple[str, Ref]) -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        for name in ("deny-v1", "deny-v2"):
            server.refuses = refusing(place, BY_POLICY.replace("'frozen'", f"'{name}'"))
            await it.put(identity("payments", ports=["https"]))
            it.engine.queue.add([identity_key(PAYMENTS)])
            await it.settle()
            message = server.condition(*IDENTITY, "Ready")["message"]
            assert f"ValidatingAdmissionPolicy {name} with binding frozen-shop" in message


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("read tcp 10.0.0.1:40000->10.0.0.2:443", "read tcp 10.0.0.1:40001->10.0.0.2:443"),
        ("retry after 1m30s", "retry after 2m5s"),
        ("timed out after 13.0009s", "timed out after 7.12s"),
        ("at 2026-11-28T13:20:05Z", "at 2026-11-28T13:21:17Z"),
    ],
)
def test_ports_and_times_are_no_part_of_an_essence(first: str, second: str) -> None:
    assert essence(first) == essence(second)


@pytest.mark.parametrize("name", ["deny-v{}", "v{}.example.com", "guard.v{}", "team-{}"])
def test_digits_of_a_name_are_part_of_an_essence(name: str) -> None:
    assert essence(f"{name.format(1)} denies it") != essence(f"{name.format(2)} denies it")


async def test_refused_deletion_is_reported() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        server.refuses = refusing(POLICY, "denied")
        watched = identity(
            "payments", ports=["https"], accepts=[accept("web")], enforcement="Observe"
        )
        await it.put(watched)
        ready = server.condition(*IDENTITY, "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "WriteRefused")
        assert "NetworkPolicy shop/payments-troth cannot be deleted" in ready["message"]
        assert it.engine.refusals.count() == {"NetworkPolicy": 1}
        server.refuses = lambda _: None
        it.engine.queue.add([identity_key(PAYMENTS)])
        await it.settle()
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"
        assert it.engine.refusals.count() == {}


async def test_refused_status_is_reported_by_one_event_and_the_metric() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        server.events.clear()
        server.refuses = refusing(IDENTITY, "status.conditions: Invalid value")
        await it.put(identity("payments", ports=["https"]))
        it.engine.queue.add([identity_key(PAYMENTS)])
        await it.settle()
        assert server.reasons().count("StatusRefused") == 1
        assert it.engine.refusals.count() == {"ServiceIdentity/status": 1}
        assert not server.objects[POLICY]["spec"].get("ingress"), "what is taken back is closed"
        server.refuses = lambda _: None
        it.engine.queue.add([identity_key(PAYMENTS)])
        await it.settle()
        assert it.engine.refusals.count() == {}


async def test_refused_status_of_a_deleted_resource_counts_no_more() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        server.refuses = refusing(IDENTITY, "status.conditions: Invalid value")
        await it.put(identity("payments", ports=["https"]))
        assert it.engine.refusals.count() == {"ServiceIdentity/status": 1}
        await it.drop(*IDENTITY)
        assert it.engine.refusals.count() == {}


async def test_conflict_is_reported_only_once_it_lasts() -> None:
    server = shop()
    async with running(server) as it:
        await it.settle()
        server.refuses = refusing(POLICY, "changed", 409)
        await it.put(identity("payments", ports=["https"]))
        assert server.condition(*IDENTITY, "Ready")["status"] == "True"
        await it.clock.move_to(NOW + timedelta(seconds=refusals.LASTING))
        it.engine.queue.add([identity_key(PAYMENTS)])
        await it.settle()
        ready = server.condition(*IDENTITY, "Ready")
        assert (ready["status"], ready["reason"]) == ("False", "WriteRefused")
        assert "NetworkPolicy shop/payments-troth" in ready["message"]


async def executor_of(server: Server) -> tuple[Executor, DropSlots]:
    async with running(server) as it:
        await it.settle()
    secret = server.objects[AUTHORITY]["metadata"]
    step = DropSlots(AUTHORITY[1], secret["uid"], secret["resourceVersion"], ("tls.crt",))
    return it.engine._executor, step


async def test_json_patch_whose_test_fails_is_a_conflict() -> None:
    server = shop()
    executor, step = await executor_of(server)
    server.put(copy.deepcopy(server.objects[AUTHORITY]))
    with pytest.raises(TryAgain):
        await executor.execute(step)


async def test_refused_json_patch_is_no_conflict() -> None:
    server = shop()
    executor, step = await executor_of(server)
    server.refuses = refusing(AUTHORITY, "denied")
    with pytest.raises(ApiError, match="422"):
        await executor.execute(step)
