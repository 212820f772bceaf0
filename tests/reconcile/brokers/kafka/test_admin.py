"""Rotation of the password with which Troth administers a real Kafka, without a lockout."""

import asyncio
import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.brokers.kafka.clients import DENIED, MECHANISM, Client, bare
from tests.brokers.waiting import becomes
from tests.builders import Manifest, rotation, stamp
from tests.patience import PATIENCE
from tests.reconcile.brokers.at_work import LEDGER, MAIN, secret
from tests.reconcile.brokers.kafka.stage import (
    CHECK,
    REFUSED,
    AtKafka,
    Stage,
    at_kafka,
    on_kafka,
)
from tests.reconcile.serving import Crashed, LeaderFence, Server
from troth.brokers.kafka.dialect import KafkaAdmin
from troth.brokers.protocol import NewAdmin
from troth.cluster.errors import ApiError
from troth.reconcile.rehearsal import Place
from troth.resources.references import Ref
from troth.trust.grants import Slot
from troth.world.observation.objects import decoded

ADMIN = Ref("messaging", "kafka-admin")
ROTATION = Ref("messaging", "main-rotation")
FIRST = "as-the-owner-made-it"
NEW_ADMIN = KafkaAdmin.issue


@dataclass(frozen=True)
class Owner:
    """Owner of the Kafka, who gave Troth a user on it."""

    stage: Stage

    @property
    def user(self) -> str:
        return f"adm-{self.stage.home}"

    def give(self, password: str = FIRST, slot: Slot = Slot.SECOND) -> None:
        """Set a password of the user on Kafka."""
        info = ScramCredentialInfo(ScramMechanism[MECHANISM[slot].replace("-", "_")], 4096)
        upsertion = UserScramCredentialUpsertion(self.user, info, password.encode())
        admin = bare(self.stage.server)
        for told in admin.alter_user_scram_credentials([upsertion]).values():
            told.result()

    def permit(self) -> None:
        """Grant the user all cluster operations."""
        everything = AclBinding(
            ResourceType.BROKER,
            "kafka-cluster",
            ResourcePatternType.LITERAL,
            f"User:{self.user}",
            "*",
            AclOperation.ALL,
            AclPermissionType.ALLOW,
        )
        admin = bare(self.stage.server)
        for made in admin.create_acls([everything]).values():
            made.result()

    def secret(self, password: str = FIRST, slot: Slot = Slot.SECOND, **more: str) -> Manifest:
        """Return the admin Secret as its owner writes it."""
        data = {"username": self.user, "password": password, "mechanism": MECHANISM[slot]}
        made = secret("kafka-admin", data | more)
        made["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
        return made

    def market(self) -> list[Manifest]:
        return self.stage.market(self.secret())

    async def lets_in(self, password: str, slot: Slot = Slot.SECOND) -> bool:
        """Return whether Kafka accepts a password of the user."""
        client = Client(self.stage.server, self.user, password, slot)
        told = await asyncio.to_thread(client.publish, self.stage.topic)
        assert told in {*DENIED, REFUSED}
        return told != REFUSED

    async def ends(self, password: str, slot: Slot = Slot.SECOND) -> None:
        """Wait until Kafka rejects a password.

        The server applies its controller's writes with a delay.
        """

        async def refused() -> bool:
            return not await self.lets_in(password, slot)

        await becomes(refused)


@pytest.fixture
def owner(stage: Stage) -> Owner:
    made = Owner(stage)
    made.give()
    made.permit()
    return made


def given(server: Server) -> dict[str, str]:
    """Return the current data of the admin Secret."""
    stored = decoded(server.objects["Secret", ADMIN])
    return {key: value.decode() for key, value in stored.items()}


def status(it: AtKafka) -> Manifest:
    found: Manifest = it.server.objects["CredentialRotation", ROTATION]["status"]
    return found


def asked_at(moment: datetime, **spec: str) -> Manifest:
    return rotation("MessageBroker", "main", "messaging", requestedAt=stamp(moment), **spec)


async def rotated(it: AtKafka, **spec: str) -> None:
    """Request a rotation of the admin credential."""
    await it.put(asked_at(it.running.clock.now(), **spec))


async def comes_to(it: AtKafka, phase: str) -> None:
    for _ in range(8):
        if status(it)["phase"] == phase:
            return
        await it.later(CHECK)
    raise AssertionError(status(it))


def observed_credentials(it: AtKafka) -> frozenset[tuple[str, Slot]]:
    """Return the credentials that Troth observed on Kafka."""
    observed = it.running.engine.world.brokers.observation(MAIN).observed
    assert observed is not None
    return observed.credentials


async def works(it: AtKafka) -> None:
    """Assert that Troth can still administer the broker."""
    await it.later(CHECK)
    assert it.condition_of("MessageBroker", MAIN, "Ready")[:2] == ("True", "InPlace")


async def test_password_is_rotated_and_the_previous_one_revoked(owner: Owner) -> None:
    async with at_kafka(owner.stage, owner.market()) as it:
        before = copy.deepcopy(it.server.objects["Secret", ADMIN])
        await rotated(it, overlap="10m")
        await comes_to(it, "Overlapping")
        new = given(it.server)
        assert (new["mechanism"], new["username"]) == ("SCRAM-SHA-256", owner.user)
        assert await owner.lets_in(FIRST)
        await works(it)
        assert status(it)["phase"] == "Overlapping"
        await it.later(timedelta(minutes=10))
        await comes_to(it, "Idle")
        await owner.ends(FIRST)
        assert await owner.lets_in(new["password"], Slot.FIRST)
        await works(it)
        assert given(it.server) == new
        stored = it.server.objects["Secret", ADMIN]
        assert {**stored["data"], "password": "", "mechanism": ""} == {
            **before["data"],
            "password": "",
            "mechanism": "",
        }
        told = str([it.server.events, status(it), it.server.objects["MessageBroker", MAIN]])
        assert new["password"] not in told
        assert FIRST not in told
        assert it.condition_of("MessageBroker", MAIN, "AdminRotates")[:2] == ("True", "Idle")
        assert len(it.notes("AdminReplaced")) == 1


async def test_second_rotation_returns_to_the_first_mechanism(owner: Owner) -> None:
    async with at_kafka(owner.stage, owner.market()) as it:
        await rotated(it)
        await comes_to(it, "Idle")
        first = given(it.server)
        await it.later(CHECK)
        await rotated(it)
        await comes_to(it, "Idle")
        second = given(it.server)
        assert (first["mechanism"], second["mechanism"]) == ("SCRAM-SHA-256", "SCRAM-SHA-512")
        await owner.ends(first["password"], Slot.FIRST)
        await works(it)


@pytest.mark.parametrize("after", range(1, 7))
async def test_crash_after_any_write_locks_nobody_out(owner: Owner, after: int) -> None:
    server = Server(owner.market())
    async with on_kafka(server, owner.stage) as it:
        await it.later(CHECK)
        now, end, crashed = it.running.clock.now(), len(server.log) + after, asyncio.Event()
        permit = it.running.engine._leader_fence
        assert isinstance(permit, LeaderFence)

        def crash(_: Place) -> None:
            if len(server.log) >= end:
                permit.remaining = 0  # starts no more work
                crashed.set()
                raise Crashed

        server.refuses = crash
        it.running.engine.observe(server.put(asked_at(now)))
        await asyncio.wait_for(crashed.wait(), PATIENCE)
    assert len(server.log) == end
    server.refuses = lambda _: None
    async with on_kafka(server, owner.stage, now + CHECK) as it:
        await comes_to(it, "Idle")
        new = given(server)
        assert new["password"] != FIRST
        await owner.ends(FIRST)
        await works(it)


async def test_concurrent_change_of_the_secret_wins(owner: Owner) -> None:
    server = Server(owner.market())
    async with on_kafka(server, owner.stage) as it:
        await it.later(CHECK)
        theirs = owner.secret("theirs-by-now")
        theirs["metadata"]["creationTimestamp"] = stamp(it.running.clock.now())
        told: list[Place] = []

        def meanwhile(place: Place) -> None:
            if place == ("ConfigMap", LEDGER) and not told:  # after the Secret was read
                told.append(place)
                owner.give("theirs-by-now")
                server.put(theirs)

        server.refuses = meanwhile
        await rotated(it)
        await works(it)
        assert told
        assert status(it)["phase"] == "Idle"
        assert given(server)["password"] == "theirs-by-now"
        assert await owner.lets_in("theirs-by-now")
        assert it.ledger.admin is None
        assert (owner.user, Slot.FIRST) not in observed_credentials(it)


async def test_later_change_of_the_secret_wins_and_revokes_troths_password(owner: Owner) -> None:
    async with at_kafka(owner.stage, owner.market()) as it:
        await rotated(it)
        await comes_to(it, "Idle")
        ours = given(it.server)
        owner.give("theirs-by-now")
        theirs = owner.secret("theirs-by-now")
        theirs["metadata"]["creationTimestamp"] = stamp(it.running.clock.now())
        it.server.put(theirs)
        await it.later(CHECK)
        await works(it)
        assert given(it.server)["password"] == "theirs-by-now"
        await owner.ends(ours["password"], Slot.FIRST)
        assert await owner.lets_in("theirs-by-now")
        assert it.ledger.admin is None
        assert len(it.notes("AdminOvertaken")) == 1


async def test_foreign_password_in_troths_mechanism_is_not_revoked(owner: Owner) -> None:
    async with at_kafka(owner.stage, owner.market()) as it:
        await rotated(it, overlap="10m")
        await comes_to(it, "Overlapping")
        owner.give("theirs-by-now", Slot.FIRST)
        theirs = owner.secret("theirs-by-now", Slot.FIRST)
        theirs["metadata"]["creationTimestamp"] = stamp(it.running.clock.now())
        it.server.put(theirs)
        for _ in range(2):
            await works(it)
        assert it.ledger.admin is None
        assert await owner.lets_in("theirs-by-now", Slot.FIRST)
        assert await owner.lets_in(FIRST), "theirs to end, too"


@pytest.mark.parametrize("seen_before", [True, False])
async def test_foreign_mechanism_is_never_overwritten(owner: Owner, *, seen_before: bool) -> None:
    if seen_before:
        owner.give("of-a-person", Slot.FIRST)
    async with at_kafka(owner.stage, owner.market()) as it:
        owner.give("of-a-person", Slot.FIRST)
        await rotated(it)
        await it.later(CHECK)
        assert it.condition_of("CredentialRotation", ROTATION, "Ready")[:2] == (
            "False",
            "MechanismTaken",
        )
        assert it.condition_of("MessageBroker", MAIN, "AdminRotates")[:2] == (
            "False",
            "MechanismTaken",
        )
        assert given(it.server)["password"] == FIRST
        assert await owner.lets_in("of-a-person", Slot.FIRST)
        await works(it)


def with_wrong_password(dialect: KafkaAdmin, slot: Slot) -> NewAdmin:
    """Return a new credential whose password in the Secret differs from the one given to Kafka."""
    made = NEW_ADMIN(dialect, slot)
    return replace(made, data={**made.data, "password": b"not-told"})


async def test_password_that_does_not_work_is_never_written_to_the_secret(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with at_kafka(owner.stage, owner.market()) as it:
        with monkeypatch.context() as spoilt:
            spoilt.setattr(KafkaAdmin, "issue", with_wrong_password)
            await rotated(it)
        told = it.condition_of("CredentialRotation", ROTATION, "Ready")
        assert told[:2] == ("False", "NewAdminRefused")
        assert given(it.server)["password"] == FIRST
        assert status(it)["phase"] == "Prepared"
        await works(it)
        await comes_to(it, "Idle")
        await owner.ends(FIRST)
        await works(it)


async def test_wrong_password_is_never_rotated(owner: Owner) -> None:
    declared = [*owner.market(), owner.secret("guessed")]
    async with at_kafka(owner.stage, declared) as it:
        await rotated(it)
        told = it.condition_of("CredentialRotation", ROTATION, "Ready")
        assert told[:2] == ("False", "AwaitingCredential")
        assert "rejects the operator's credential" in told[2]
        it.server.put(owner.secret())
        await it.later(CHECK)
        await comes_to(it, "Idle")
        await owner.ends(FIRST)
        await works(it)


async def test_unwritable_secret_is_reported_and_nothing_is_revoked(owner: Owner) -> None:
    server = Server(owner.market())
    async with on_kafka(server, owner.stage) as it:
        server.refuses = lambda place: (
            ApiError(403, "Forbidden", "no") if place == ("Secret", ADMIN) else None
        )
        await rotated(it)
        reason = it.condition_of("MessageBroker", MAIN, "AdminRotates")[1]
        assert reason == "ApiServerFailed"
        assert status(it)["blockers"]
        await works(it)
        assert await owner.lets_in(FIRST)
        server.refuses = lambda _: None
        await comes_to(it, "Idle")
        await owner.ends(FIRST)
        await works(it)


async def test_admin_certificate_is_not_rotated(stage: Stage) -> None:
    async with at_kafka(stage, stage.market()) as it:
        await rotated(it)
        told = it.condition_of("CredentialRotation", ROTATION, "Ready")
        assert told[:2] == ("False", "NothingToRotate")
        assert "that it does not issue" in told[2]
