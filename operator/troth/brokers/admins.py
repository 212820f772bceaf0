"""The admin credential of a broker as its Secret has it: which it is, and another in its place."""

from collections.abc import Mapping

from troth.brokers.connecting import admin_scram
from troth.brokers.kafka import credentials as kafka_credentials
from troth.resources.messaging.message_broker import MessageBroker
from troth.trust.grants import Slot
from troth.world.facts.broker import Place

SLOTS = {mechanism: slot for slot, mechanism in kafka_credentials.MECHANISMS.items()}


def place_of(broker: MessageBroker, admin: Mapping[str, bytes]) -> tuple[Place | None, str]:
    """Return where the credential in an admin Secret is kept at the broker, and its fingerprint.

    The place is None where it is no password. Raises `BrokerError` where the Secret will not do.
    """
    scram = admin_scram(broker, admin)
    if scram is None:
        return None, ""
    fingerprint = kafka_credentials.fingerprint_of(scram.password)
    return (scram.username, SLOTS[scram.mechanism]), fingerprint


def replaced(slot: Slot, password: str) -> dict[str, bytes]:
    """Return what an admin Secret says in other words with another password, in that slot."""
    mechanism = kafka_credentials.MECHANISMS[slot]
    return {"password": password.encode(), "mechanism": mechanism.encode()}
