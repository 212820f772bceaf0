"""Credential Secrets as Troth writes them, and what the keyring keeps of them."""

import copy
from dataclasses import replace

import pytest

from tests.broker_builders import CHECKOUT, PUBLISHER, market, see
from tests.builders import OWN, Cluster, Manifest
from tests.reconcile.serving import Server
from troth.pki.keys.private import generate_key
from troth.planning.steps.broker_credentials import ChangeCredential, CredentialChange
from troth.reconcile.apply.execute import Executor
from troth.reconcile.apply.keys.keyring import MOST_FORMER, Keyring
from troth.reconcile.apply.secrets.credential_secrets import CredentialError
from troth.reconcile.apply.writer import TryAgain
from troth.reconcile.events.transitions import repair
from troth.reconcile.runtime.clock import MovableClock
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.references import Ref
from troth.world.facts.broker import CredentialSecret
from troth.world.keys import identity_key
from troth.world.observation.broker_secrets import DIGEST, digest
from troth.world.observation.objects import decoded

KEY = identity_key(CHECKOUT)
SECRET = Ref("shop", "checkout-main")
KAFKA = BrokerType.KAFKA


class Scene:
    """An executor, an in-memory server, and the plan of an identity that may publish."""

    def __init__(self) -> None:
        self.cluster: Cluster = market()
        see(self.cluster)
        self.server = Server()
        self.server.objects = self.cluster.objects
        self.keyring = Keyring(OWN)
        clock = MovableClock(self.cluster.now)
        self.executor = Executor(
            self.server,
            self.cluster.world,
            self.keyring,
            clock,
            private_key=lambda _, algorithm: generate_key(algorithm),
        )
        self.server._version = self.cluster.version + 1000

    @property
    def step(self) -> ChangeCredential:
        (step,) = (
            each for each in self.cluster.plan(KEY).steps if isinstance(each, ChangeCredential)
        )
        return step

    async def carry_out(self, step: ChangeCredential | None = None) -> CredentialSecret:
        await self.executor.execute(step or self.step)
        return self.cluster.world.brokers.secrets[SECRET]

    def put(self, change: Manifest) -> None:
        """Change the Secret as a user does, and send the watch event."""
        stored = copy.deepcopy(self.server.objects["Secret", SECRET])
        stored["data"] |= change.get("data", {})
        stored["metadata"]["annotations"] |= change.get("annotations", {})
        put = self.server.put(stored)
        self.keyring.observe(put)
        self.cluster.world.observe(put, uptime=0.0)


async def issued() -> tuple[Scene, CredentialSecret]:
    scene = Scene()
    return scene, await scene.carry_out()


def changes(scene: Scene) -> list[CredentialChange]:
    steps = scene.cluster.plan(KEY).steps
    return [each.change for each in steps if isinstance(each, ChangeCredential)]


def fingerprint(secret: CredentialSecret) -> str:
    assert secret.current is not None
    return secret.current.fingerprint


async def test_new_secret_is_complete_and_has_its_type() -> None:
    scene, secret = await issued()
    stored = scene.server.objects["Secret", SECRET]
    assert stored["type"] == "troth.dev/broker-credential"
    assert stored["metadata"]["annotations"] == {DIGEST: digest(decoded(stored))}
    assert secret.intact
    assert changes(scene) == []


async def test_drift_is_restored_with_one_write() -> None:
    scene, _ = await issued()
    scene.put({"data": {"extra": "eA=="}})
    writes = scene.server.writes
    secret = await scene.carry_out()
    assert scene.server.writes == writes + 1
    assert secret.intact
    assert "extra" not in scene.server.objects["Secret", SECRET]["data"]
    assert changes(scene) == []


async def test_secret_that_changed_meanwhile_is_not_overwritten() -> None:
    scene, _ = await issued()
    scene.put({"data": {"extra": "eA=="}})
    step = scene.step
    stored = copy.deepcopy(scene.server.objects["Secret", SECRET])
    scene.server.put(stored)  # the watch event is still missing
    with pytest.raises(TryAgain):
        await scene.carry_out(step)
    assert "extra" in scene.server.objects["Secret", SECRET]["data"]


async def test_change_observed_since_the_plan_is_planned_again() -> None:
    scene, _ = await issued()
    scene.put({"data": {"extra": "eA=="}})
    step = scene.step
    scene.put({"data": {"more": "eA=="}})
    writes = scene.server.writes
    with pytest.raises(TryAgain):
        await scene.carry_out(step)
    assert scene.server.writes == writes


async def test_secret_with_a_forged_digest_gets_a_new_credential() -> None:
    scene = Scene()
    first = scene.step
    secret = await scene.carry_out(first)
    stored = copy.deepcopy(scene.server.objects["Secret", SECRET])
    stored["data"]["password"] = "eA=="
    forged = {DIGEST: digest(decoded(stored))}
    scene.put({"data": {"password": "eA=="}, "annotations": forged})
    seen = scene.cluster.world.brokers.secrets[SECRET]
    assert seen.intact
    step = replace(
        first, uid=seen.uid, resource_version=seen.resource_version, change=CredentialChange.REFRESH
    )
    after = await scene.carry_out(step)
    assert fingerprint(after) != fingerprint(secret)
    assert scene.keyring.credential(KAFKA, SECRET, fingerprint(after)) is not None


async def test_impossible_credential_is_rejected_with_a_message() -> None:
    scene = Scene()
    step = scene.step
    hostile = replace(step.request, principal="a b")
    with pytest.raises(CredentialError, match="a Kafka principal has"):
        await scene.carry_out(replace(step, request=hostile))


async def test_only_a_replaced_credential_is_reported() -> None:
    scene = Scene()
    plan = scene.cluster.plan(KEY)
    assert repair(scene.step, plan) is None
    await scene.carry_out()
    scene.cluster.report(KEY)
    scene.put({"data": {"extra": "eA=="}})
    notice = repair(scene.step, scene.cluster.plan(KEY))
    assert notice is not None
    assert (notice.reason, notice.type) == ("Reissued", "Normal")


# The keyring


async def test_credential_is_found_only_by_its_secret_and_fingerprint() -> None:
    scene, secret = await issued()
    held = scene.keyring.credential(KAFKA, SECRET, fingerprint(secret))
    assert held is not None
    assert (held.principal, held.slot) == (PUBLISHER, "First")
    assert scene.keyring.credential(KAFKA, Ref("shop", "other-main"), fingerprint(secret)) is None
    assert scene.keyring.credential(KAFKA, SECRET, "0" * 16) is None
    login = scene.keyring.login(KAFKA, SECRET, fingerprint(secret))
    assert held.material not in repr((held, login, vars(scene.keyring)))


async def test_login_is_known_until_its_credential_is_revoked() -> None:
    scene, before = await issued()
    login = scene.keyring.login(KAFKA, SECRET, fingerprint(before))
    assert login is not None
    scene.put({"data": {"extra": "eA=="}})
    after = await scene.carry_out()
    assert scene.keyring.login(KAFKA, SECRET, fingerprint(before)) == login
    assert scene.keyring.credential(KAFKA, SECRET, fingerprint(before)) is None, (
        "nobody is told of it"
    )
    scene.keyring.forget(SECRET)
    assert scene.keyring.login(KAFKA, SECRET, fingerprint(after)) is not None
    for each in (before, after):
        scene.keyring.drop_credential(SECRET, fingerprint(each))
        assert scene.keyring.login(KAFKA, SECRET, fingerprint(each)) is None


async def test_credentials_in_the_own_namespace_are_kept_like_others() -> None:
    scene, secret = await issued()
    elsewhere = copy.deepcopy(scene.server.objects["Secret", SECRET])
    elsewhere["metadata"]["namespace"] = OWN
    scene.keyring.observe(elsewhere)
    assert scene.keyring.credential(KAFKA, Ref(OWN, SECRET.name), fingerprint(secret)) is not None


async def test_endless_secret_changes_do_not_fill_memory() -> None:
    scene, secret = await issued()
    stored = scene.server.objects["Secret", SECRET]
    for number in range(MOST_FORMER + 10):
        each = {**stored, "metadata": {**stored["metadata"], "name": f"made-{number}"}}
        scene.keyring.observe(each)
        scene.keyring.forget(Ref("shop", f"made-{number}"))
    assert scene.keyring.login(KAFKA, Ref("shop", "made-0"), fingerprint(secret)) is None
    assert (
        scene.keyring.login(KAFKA, Ref("shop", f"made-{number}"), fingerprint(secret)) is not None
    )
    assert scene.keyring.login(KAFKA, SECRET, fingerprint(secret)) is not None
