"""Admin Secret of Kafka: a client certificate, or a user with a password."""

from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from troth.brokers.admin_secret import AdminSecret
from troth.brokers.errors import AdminRefusedError
from troth.brokers.kafka.credentials import BOOTSTRAP_SERVERS
from troth.documents.secret_keys import KEY, LEAF
from troth.pki.encodings.pem import read_certificates, write_certificates
from troth.pki.errors import PKIError
from troth.pki.keys.private import load_private_key, private_key_pem, same_key
from troth.resources.messaging.brokers.description import Servers

MECHANISMS = ("SCRAM-SHA-512", "SCRAM-SHA-256")
"""SASL mechanisms for a password; the first is the default."""

_SERVERS: TypeAdapter[tuple[str, ...]] = TypeAdapter(Servers)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Client certificate with its chain, and its key, both in PEM."""

    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Scram:
    """User with a password; `mechanism` is SCRAM-SHA-256 or SCRAM-SHA-512."""

    username: str
    password: str = field(repr=False)
    mechanism: str = MECHANISMS[0]


def login_of(admin: AdminSecret) -> Certificate | Scram:
    """Return the admin credential; raises `AdminRefusedError`."""
    return scram_of(admin) or _certificate(admin)


def scram_of(admin: AdminSecret) -> Scram | None:
    """Return the user and its password, None if the Secret holds a certificate.

    Raises `AdminRefusedError`.
    """
    if LEAF in admin or KEY in admin:
        return None
    if "username" not in admin and "password" not in admin:
        raise AdminRefusedError(
            f"{admin.where} has neither {LEAF} and {KEY} nor username and password; add one pair"
        )
    mechanism = admin.line("mechanism") if "mechanism" in admin else MECHANISMS[0]
    if mechanism not in MECHANISMS:
        raise admin.refused("mechanism", f"is not one of {', '.join(MECHANISMS)}")
    return Scram(admin.line("username"), admin.line("password"), mechanism)


def servers_of(admin: AdminSecret) -> tuple[str, ...]:
    """Return the servers for administration, none if the Secret names none.

    Raises `AdminRefusedError`.
    """
    if BOOTSTRAP_SERVERS not in admin:
        return ()
    named = admin.line(BOOTSTRAP_SERVERS).split(",")
    try:
        return _SERVERS.validate_python(tuple(each.strip() for each in named))
    except ValidationError:
        raise admin.refused(
            BOOTSTRAP_SERVERS, "is not a comma-separated list of host:port"
        ) from None


def _certificate(admin: AdminSecret) -> Certificate:
    try:
        chain = read_certificates(admin.value(LEAF), LEAF, comments=True)
        key = load_private_key(admin.value(KEY))
    except PKIError as error:
        raise AdminRefusedError(f"{admin.where}: {error}") from None
    if not same_key(chain[0], key):
        raise admin.refused(KEY, f"is not the key of {LEAF}")
    return Certificate(write_certificates(chain).decode(), private_key_pem(key).decode())
