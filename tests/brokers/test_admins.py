"""Which credential an admin Secret has, and what is written there in its place."""

import pytest

from tests.messaging import NATS, broker
from troth.brokers.admins import place_of, replaced
from troth.brokers.kafka.credentials import fingerprint_of
from troth.brokers.protocol import AdminRefusedError
from troth.resources.messaging.message_broker import MessageBroker
from troth.trust.grants import Slot

KAFKA = MessageBroker.parse(broker())
GIVEN = {"username": b"admin\n", "password": b"secret\n"}


@pytest.mark.parametrize(
    ("mechanism", "slot"),
    [({}, Slot.SECOND), ({"mechanism": b"SCRAM-SHA-256\n"}, Slot.FIRST)],
    ids=["not-named", "named"],
)
def test_a_password_is_known_by_its_user_and_mechanism(
    mechanism: dict[str, bytes], slot: Slot
) -> None:
    assert place_of(KAFKA, GIVEN | mechanism) == (("admin", slot), fingerprint_of("secret"))


def test_a_certificate_has_no_place_and_neither_has_a_user_of_nats() -> None:
    assert place_of(KAFKA, {"tls.crt": b"one", "tls.key": b"another"}) == (None, "")
    nats = MessageBroker.parse(broker(described=NATS))
    assert place_of(nats, {"system.creds": b"one"}) == (None, "")


def test_what_is_no_password_is_refused_without_quoting_it() -> None:
    with pytest.raises(AdminRefusedError) as raised:
        place_of(KAFKA, GIVEN | {"mechanism": b"what-nobody-may-read"})
    assert "what-nobody-may-read" not in str(raised.value)


@pytest.mark.parametrize("slot", list(Slot))
def test_what_is_written_is_read_as_the_other_place(slot: Slot) -> None:
    written = GIVEN | replaced(slot, "another")
    assert place_of(KAFKA, written) == (("admin", slot), fingerprint_of("another"))
    assert written["username"] == GIVEN["username"]
