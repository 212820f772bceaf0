"""The credential in an admin Secret, and the data that replaces it."""

import pytest

from tests.messaging import NATS, broker
from troth.brokers.connecting import admin_place
from troth.brokers.errors import AdminRefusedError
from troth.brokers.kafka.credentials import fingerprint_of
from troth.brokers.kafka.dialect import KafkaAdmin
from troth.resources.messaging.message_broker import MessageBroker
from troth.trust.grants import Slot

KAFKA = MessageBroker.parse(broker())
GIVEN = {"username": b"admin\n", "password": b"secret\n"}


@pytest.mark.parametrize(
    ("mechanism", "slot"),
    [({}, Slot.SECOND), ({"mechanism": b"SCRAM-SHA-256\n"}, Slot.FIRST)],
    ids=["not-named", "named"],
)
def test_password_is_identified_by_its_user_and_mechanism(
    mechanism: dict[str, bytes], slot: Slot
) -> None:
    assert admin_place(KAFKA, GIVEN | mechanism) == (("admin", slot), fingerprint_of("secret"))


def test_certificate_and_nats_user_have_no_slot() -> None:
    assert admin_place(KAFKA, {"tls.crt": b"one", "tls.key": b"another"}) == (None, "")
    nats = MessageBroker.parse(broker(described=NATS))
    assert admin_place(nats, {"system.creds": b"one"}) == (None, "")


def test_invalid_mechanism_is_rejected_without_quoting_it() -> None:
    with pytest.raises(AdminRefusedError) as raised:
        admin_place(KAFKA, GIVEN | {"mechanism": b"what-nobody-may-read"})
    assert "what-nobody-may-read" not in str(raised.value)


@pytest.mark.parametrize("slot", list(Slot))
def test_written_credential_is_read_back_in_its_slot(slot: Slot) -> None:
    new = KafkaAdmin().issue(slot)
    written = {**GIVEN, **new.data}
    assert admin_place(KAFKA, written) == (("admin", slot), new.fingerprint)
    assert new.fingerprint == fingerprint_of(new.material)
    assert written["password"] == new.material.encode()
    assert written["username"] == GIVEN["username"]
