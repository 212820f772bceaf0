"""Only foreign ledgers are unpacked."""

import pytest

from tests.builders import OWN
from tests.messaging import broker
from troth.resources.messaging.message_broker import MessageBroker
from troth.trust.grants import Rule
from troth.world.facts.broker import Ledger
from troth.world.index.brokers import Brokers
from troth.world.observation import ledger as ledgers
from troth.world.observation.ledger import Packed, ledger_manifest, ledger_ref

MAIN = MessageBroker.parse({**broker(), "metadata": {**broker()["metadata"], "uid": "main"}})
ONE = Ledger(rules=frozenset({Rule("troth-shop.checkout", "TOPIC", "LITERAL", "a", "WRITE")}))
OTHER = Ledger(rules=frozenset({Rule("troth-shop.checkout", "TOPIC", "LITERAL", "b", "WRITE")}))


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was unpacked."""
    found: list[bytes] = []
    unpack = ledgers.unpacked

    def counted(data: bytes) -> Ledger:
        found.append(data)
        return unpack(data)

    monkeypatch.setattr(ledgers, "unpacked", counted)
    return found


def test_only_foreign_ledgers_are_unpacked(
    unpacked: list[bytes],
) -> None:
    brokers, place = Brokers(OWN), ledger_ref(OWN, MAIN.ref)
    made = brokers.packed(MAIN.ref, ONE)
    brokers.take_ledger(place, ledger_manifest(OWN, MAIN, ONE, made))
    assert (brokers.ledger(MAIN.ref), unpacked) == (ONE, [])
    brokers.take_ledger(place, ledger_manifest(OWN, MAIN, OTHER))
    assert (brokers.ledger(MAIN.ref), len(unpacked)) == (OTHER, 1)


def test_repr_of_a_packed_ledger_has_no_text() -> None:
    assert Packed.of(ONE).text not in repr(Packed.of(ONE))
