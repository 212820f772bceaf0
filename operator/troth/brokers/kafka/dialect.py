"""Dialect of Kafka with the StandardAuthorizer."""

from collections.abc import Mapping
from datetime import datetime

from troth.brokers.admin_secret import AdminSecret
from troth.brokers.kafka import credentials, rules
from troth.brokers.kafka.admin import scram_of
from troth.brokers.protocol import (
    AdminDialect,
    CredentialRequest,
    Dialect,
    NewAdmin,
    NewCredential,
)
from troth.resources.messaging.message_broker import MessageBroker, Owns
from troth.trust.grants import Action, Grant, Place, Rule, Slot, Topic


class KafkaAdmin(AdminDialect):
    """A user with a SCRAM password in each of two mechanisms."""

    def place(self, admin: AdminSecret) -> tuple[Place | None, str]:
        """Return the user, its mechanism's slot and the fingerprint; None, "" for a certificate."""
        scram = scram_of(admin)
        if scram is None:
            return None, ""
        place = scram.username, credentials.SLOTS[scram.mechanism]
        return place, credentials.fingerprint_of(scram.password)

    def issue(self, slot: Slot) -> NewAdmin:
        """Return a new password for the slot's mechanism."""
        password, mechanism = credentials.new_password(), credentials.MECHANISMS[slot]
        data = {credentials.PASSWORD: password.encode(), "mechanism": mechanism.encode()}
        return NewAdmin(password, credentials.fingerprint_of(password), data)

    def slot_taken(self, user: str) -> str:
        """Return the message for a foreign password in the user's other mechanism."""
        return (
            f"Kafka has a password of {user} for the other SCRAM mechanism that Troth did not "
            "set; use an admin user that only Troth uses"
        )


class KafkaDialect(Dialect):
    """Dialect of Kafka: ACLs, and a SCRAM password in each of two mechanisms."""

    name = "Kafka"
    extra = "kafka"
    driver = "troth.brokers.kafka.driver"
    secret_key = credentials.PASSWORD
    public_keys = frozenset({credentials.BOOTSTRAP_SERVERS})

    def rules(self, grant: Grant) -> frozenset[Rule]:
        """Return the ACLs of topics and groups for a grant."""
        return rules.rules([grant])

    def access(self, rule: Rule, topic: Topic, stream: str = "") -> frozenset[Action]:  # noqa: ARG002 - Kafka has no streams
        """Return what an ACL allows or denies on topics."""
        return rules.access(rule, topic)

    def is_owned(self, rule: Rule, owns: Owns) -> bool:
        """Return whether the topic or group of an ACL is owned."""
        return rules.is_owned(rule, owns)

    def is_wildcard(self, rule: Rule) -> bool:
        """Return whether an ACL is for every topic, or for every principal."""
        return rules.is_wildcard(rule)

    def issue(self, request: CredentialRequest, now: datetime) -> NewCredential:  # noqa: ARG002 - a password has no date
        """Return a password, which Kafka receives too."""
        password = credentials.issue(request.principal)
        return NewCredential(password, password)

    def material_of(self, principal: str, secret: str) -> str:  # noqa: ARG002 - a password names no principal
        """Return the password itself."""
        return credentials.checked(secret)

    def fingerprint_of(self, material: str) -> str:
        """Return the first digits of the password's SHA-256."""
        return credentials.fingerprint_of(material)

    def public_data(self, request: CredentialRequest) -> Mapping[str, str]:
        """Return the bootstrap servers."""
        return {credentials.BOOTSTRAP_SERVERS: ",".join(request.servers)}

    def files(self, request: CredentialRequest, slot: Slot, secret: str) -> Mapping[str, str]:
        """Return properties files for librdkafka and for Java, and their single values."""
        return credentials.files(request, slot, secret)

    def admin(self, broker: MessageBroker) -> AdminDialect | str:  # noqa: ARG002 - the same for all
        """Return how Troth rotates the password of a user."""
        return KafkaAdmin()
