"""Rotation of a broker's administrator credential, and what Troth never revokes."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.broker_builders import DOWN, MAIN, keep_ledger, lose_sight, market, see
from tests.builders import NOW, Cluster, Manifest, rotation, stamp
from tests.messaging import NATS, broker
from troth.planning.brokers.admin_rotation import RETRY, AdminState
from troth.planning.brokers.view import admin_state
from troth.planning.steps.brokers import AdminChange, ChangeAdminCredential
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialPhase
from troth.trust.grants import Place, Slot
from troth.world.facts.broker import AdminInUse, IssuedAdmin, Ledger
from troth.world.facts.objects import Fault
from troth.world.index.rotations import rotation_key
from troth.world.keys import broker_key
from troth.world.observation.ledger import packed, unpacked
from troth.world.reader import Reader

BEFORE: Place = ("admin", Slot.SECOND)
MADE = IssuedAdmin(("admin", Slot.FIRST), "made", NOW)
OF_PERSON = AdminInUse(BEFORE, "theirs", NOW - timedelta(days=1))
OF_TROTH = AdminInUse(MADE.place, MADE.fingerprint, NOW)
BY_CERTIFICATE = AdminInUse(None, "", NOW)
OF_MAIN = rotation_key(Ref("messaging", "main-rotation"))


def requested_rotation(at: datetime = NOW, **spec: Any) -> Manifest:
    return rotation("MessageBroker", "main", "messaging", requestedAt=stamp(at), **spec)


def observed_state(
    *manifests: Manifest,
    shown: AdminInUse | None = OF_PERSON,
    made: IssuedAdmin | None = None,
    others: tuple[Place, ...] = (),
    **look: Any,
) -> tuple[AdminState, Cluster]:
    """Return the administrator's state after an observation of the broker, and the cluster."""
    cluster = market(*manifests)
    keep_ledger(cluster, Ledger(admin=made))
    see(cluster, credentials=(*others, *((shown.place,) if shown and shown.place else ())))
    brokers = cluster.world.brokers
    brokers.note_observation(MAIN, replace(brokers.observation(MAIN), admin=shown, **look))
    declared = brokers.declared(MAIN)
    assert declared is not None
    return admin_state(declared, Reader(cluster.world), cluster.moment), cluster


def change(found: AdminState) -> AdminChange | None:
    return found.step.change if found.step is not None else None


def reason(found: AdminState) -> str:
    return found.fault.reason if found.fault is not None else ""


def test_password_is_replaced_only_on_request_of_a_rotation() -> None:
    idle, _ = observed_state()
    assert (idle.step, idle.phase, idle.fault) == (None, CredentialPhase.IDLE, None)
    due, _ = observed_state(requested_rotation())
    assert (change(due), due.phase) == (AdminChange.REPLACE, CredentialPhase.PREPARED)
    later, _ = observed_state(requested_rotation(NOW + timedelta(hours=1)))
    assert (later.step, later.due) == (None, NOW + timedelta(hours=1))


def test_age_of_a_user_supplied_password_is_that_of_the_secret() -> None:
    old, _ = observed_state(rotation("MessageBroker", "main", "messaging", every="12h"))
    assert change(old) is AdminChange.REPLACE
    young, _ = observed_state(rotation("MessageBroker", "main", "messaging", every="48h"))
    assert young.step is None
    assert young.made_at == OF_PERSON.written_at


def test_one_request_causes_one_rotation() -> None:
    found, _ = observed_state(
        requested_rotation(), shown=OF_TROTH, made=replace(MADE, replaces=False)
    )
    assert (found.step, found.phase, found.made_at) == (None, CredentialPhase.IDLE, NOW)


def test_old_password_is_revoked_after_the_new_one_worked_for_the_overlap() -> None:
    early, cluster = observed_state(requested_rotation(overlap="1h"), shown=OF_TROTH, made=MADE)
    assert (early.step, early.phase) == (None, CredentialPhase.OVERLAPPING)
    assert early.wait == timedelta(hours=1)
    cluster.uptime += 3600
    over = admin_state(
        cluster.world.brokers.messaging.brokers[MAIN], Reader(cluster.world), cluster.moment
    )
    assert (change(over), over.phase) == (AdminChange.RETIRE, CredentialPhase.RETIRING)


def test_rotation_completes_after_its_resource_is_deleted() -> None:
    found, _ = observed_state(shown=OF_TROTH, made=MADE)
    assert change(found) is AdminChange.RETIRE


@pytest.mark.parametrize(
    ("shown", "made", "phase"),
    [
        (OF_PERSON, MADE, CredentialPhase.PREPARED),
        (OF_PERSON, replace(MADE, replaces=False), CredentialPhase.IDLE),
        (AdminInUse(("other", Slot.FIRST), "theirs", NOW), MADE, CredentialPhase.IDLE),
        (AdminInUse(MADE.place, "theirs", NOW), MADE, CredentialPhase.IDLE),
        (BY_CERTIFICATE, MADE, CredentialPhase.IDLE),
    ],
    ids=["never-written", "put-back", "another-user", "same-slot", "certificate"],
)
def test_credential_of_troth_is_withdrawn_if_the_secret_holds_another(
    shown: AdminInUse, made: IssuedAdmin, phase: CredentialPhase
) -> None:
    found, _ = observed_state(requested_rotation(), shown=shown, made=made)
    assert (change(found), found.phase) == (AdminChange.WITHDRAW, phase)


def test_foreign_mechanism_is_not_overwritten() -> None:
    found, _ = observed_state(requested_rotation(), others=(MADE.place,))
    assert (found.step, reason(found)) == (None, "MechanismTaken")
    assert found.stuck


def test_secret_shared_by_two_brokers_is_not_changed() -> None:
    found, _ = observed_state(
        requested_rotation(), broker("second", principals="second-", owns=["second."])
    )
    assert (found.step, reason(found)) == (None, "AdminSecretShared")
    elsewhere, _ = observed_state(
        requested_rotation(), broker("main", "elsewhere", principals="else-", owns=["e."])
    )
    assert change(elsewhere) is AdminChange.REPLACE


@pytest.mark.parametrize("mode", ["Observe", "Plan"])
def test_password_is_not_replaced_unless_enforced(mode: str) -> None:
    found, _ = observed_state(broker(mode=mode), requested_rotation())
    assert (found.step, reason(found)) == (None, "NotEnforced")


def test_client_certificate_and_nats_account_are_not_rotated() -> None:
    certificate, _ = observed_state(requested_rotation(), shown=BY_CERTIFICATE)
    assert (certificate.step, reason(certificate)) == (None, "NothingToRotate")
    nats, _ = observed_state(broker(described=NATS), requested_rotation())
    assert (nats.step, reason(nats)) == (None, "NothingToRotate")


def test_unobserved_or_unreachable_broker_is_not_changed() -> None:
    unseen, cluster = observed_state(requested_rotation(), shown=None)
    assert (unseen.step, reason(unseen)) == (None, "AwaitingCredential")
    lose_sight(cluster)
    condition = cluster.condition(OF_MAIN, "Ready")
    assert (condition["status"], condition["reason"]) == ("False", "AwaitingCredential")
    assert DOWN.message in condition["message"]
    down, _ = observed_state(requested_rotation(), fault=DOWN)
    assert (down.step, reason(down)) == (None, "AwaitingCredential")


def test_failed_change_is_retried_after_a_delay_and_reported() -> None:
    failed = Fault("NewAdminRefused", "it is not taken")
    found, cluster = observed_state(requested_rotation(), admin_fault=failed, admin_tried_at=0.0)
    assert (found.step, found.fault) == (None, failed)
    assert found.wait == timedelta(seconds=RETRY)
    told = cluster.plan(OF_MAIN).status
    assert told is not None
    assert (told["phase"], told["blockers"]) == ("Prepared", ["it is not taken"])
    condition = cluster.condition(broker_key(MAIN), "AdminRotates")
    assert (condition["status"], condition["reason"]) == ("False", "NewAdminRefused")
    cluster.uptime += RETRY
    again = admin_state(
        cluster.world.brokers.messaging.brokers[MAIN], Reader(cluster.world), cluster.moment
    )
    assert change(again) is AdminChange.REPLACE


def test_rotation_applies_to_the_broker_of_its_own_namespace() -> None:
    cluster = market(requested_rotation())
    assert cluster.condition(OF_MAIN, "Ready")["reason"] == "AwaitingCredential"
    elsewhere = rotation("MessageBroker", "main", "shop", requestedAt=stamp(NOW))
    assert broker_key(MAIN) not in cluster.put(elsewhere)
    key = rotation_key(Ref("shop", "main-rotation"))
    assert cluster.condition(key, "Ready")["reason"] == "TargetMissing"


def test_ledger_records_what_troth_made_without_a_password() -> None:
    for made in (MADE, replace(MADE, replaces=False), None):
        ledger = Ledger(admin=made)
        assert unpacked(packed(ledger)) == ledger
    assert "theirs" not in repr(ChangeAdminCredential(MAIN, AdminChange.REPLACE, OF_PERSON))
