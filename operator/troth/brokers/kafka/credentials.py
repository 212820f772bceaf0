"""Credentials of Kafka: a password, and the files in which clients of Kafka read it."""

import hashlib
import json
import re
import secrets
from datetime import datetime

from troth.brokers.kafka.rules import ALLOWED
from troth.planning.steps.broker_credentials import CredentialRequest
from troth.trust.grants import Slot
from troth.world.observation.broker_secrets import BOOTSTRAP_SERVERS
from troth.world.observation.objects import ROOTS

SECRET = "password"  # noqa: S105 - the key of the Secret
MECHANISMS = {Slot.FIRST: "SCRAM-SHA-256", Slot.SECOND: "SCRAM-SHA-512"}
"""Under which Kafka keeps the credential of each slot."""

_PASSWORD = re.compile(r"[A-Za-z0-9_-]{43}")  # 256 bits; in no file does it need an escape
_DIGITS = 16


def issue(request: CredentialRequest, now: datetime) -> tuple[str, str]:  # noqa: ARG001 - a password has no date
    """Return a new password, twice; raises `ValueError` for a principal that no file could say."""
    if not ALLOWED.fullmatch(request.principal):
        raise ValueError("a principal of Kafka has letters, digits, dots, underscores and dashes")
    password = new_password()
    return password, password


def new_password() -> str:
    """Return a password of 256 random bits."""
    return secrets.token_urlsafe(32)


def material_of(principal: str, secret: str) -> str:  # noqa: ARG001 - anybody's
    """Return the password, which is what Kafka is told; raises `ValueError` if Troth made none."""
    if not _PASSWORD.fullmatch(secret):
        raise ValueError("the password is not one that Troth made")
    return secret


def fingerprint_of(material: str) -> str:
    """Return the first digits of a password's SHA-256; of 256 random bits it gives away nothing."""
    return hashlib.sha256(material.encode()).hexdigest()[:_DIGITS]


def files(request: CredentialRequest, slot: Slot, secret: str) -> dict[str, str]:
    """Return what clients read, for librdkafka and for Java.

    Neither reads the other's: librdkafka refuses properties that it does not know, and takes no
    certificate that is written in one line. So its `ssl.ca.location` is `ca.crt`, beside the file.
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
        # What JSON escapes, properties do in the same way.
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
