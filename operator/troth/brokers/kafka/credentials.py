"""Credentials of Kafka: a password, and the client configuration files that contain it."""

import hashlib
import json
import re
import secrets

from troth.brokers.kafka.rules import ALLOWED
from troth.brokers.protocol import CredentialRequest
from troth.documents.secret_keys import ROOTS
from troth.trust.grants import Slot

PASSWORD = "password"  # noqa: S105 - the key of the Secret
BOOTSTRAP_SERVERS = "bootstrap.servers"
MECHANISMS = {Slot.FIRST: "SCRAM-SHA-256", Slot.SECOND: "SCRAM-SHA-512"}
"""SCRAM mechanism under which Kafka stores the credential of each slot."""
SLOTS = {mechanism: slot for slot, mechanism in MECHANISMS.items()}

_PASSWORD = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits; needs no escape in any file
_DIGITS = 16


def issue(principal: str) -> str:
    """Return a new password; raises `ValueError` for a principal that client files cannot hold."""
    if not ALLOWED.fullmatch(principal):
        raise ValueError("a Kafka principal has letters, digits, dots, underscores and dashes")
    return new_password()


def new_password() -> str:
    """Return a password of 256 random bits."""
    return secrets.token_urlsafe(32)


def checked(password: str) -> str:
    """Return a password that Troth generated; raises `ValueError` for any other."""
    if not _PASSWORD.fullmatch(password):
        raise ValueError("Troth did not generate the password")
    return password


def fingerprint_of(material: str) -> str:
    """Return the first digits of a password's SHA-256.

    They reveal nothing, because the password has 256 random bits.
    """
    return hashlib.sha256(material.encode()).hexdigest()[:_DIGITS]


def files(request: CredentialRequest, slot: Slot, secret: str) -> dict[str, str]:
    """Return the client configuration, for librdkafka and for Java.

    Each needs a file of its own. librdkafka rejects unknown properties, and reads no certificate
    that is written in one line. So its `ssl.ca.location` is `ca.crt`, in the same directory.
    """
    jaas = (
        "org.apache.kafka.common.security.scram.ScramLoginModule required "
        f'username="{request.principal}" password="{secret}";'
    )
    both = {
        BOOTSTRAP_SERVERS: ",".join(request.servers),
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": MECHANISMS[slot],
    }
    librdkafka = {**both, "sasl.username": request.principal, "sasl.password": secret}
    java = {**both, "sasl.jaas.config": jaas}
    if request.authorities:
        librdkafka["ssl.ca.location"] = ROOTS
        java["ssl.truststore.type"] = "PEM"
        # Java properties use the same escapes as JSON.
        java["ssl.truststore.certificates"] = json.dumps(request.authorities)[1:-1]
    return {
        "username": request.principal,
        "sasl.mechanism": MECHANISMS[slot],
        "sasl.jaas.config": jaas,
        "client.properties": _lines(librdkafka),
        "java.properties": _lines(java),
    }


def _lines(properties: dict[str, str]) -> str:
    return "".join(f"{name}={value}\n" for name, value in properties.items())
