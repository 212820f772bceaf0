"""Reasons why a broker could not be observed or changed, as its status reports them."""

from troth.brokers.errors import (
    AdminRefusedError,
    BrokerError,
    MissingExtraError,
    UnreachableError,
    UnsupportedError,
)
from troth.cluster.errors import ApiError
from troth.reconcile.status.rejection_text import cause_of
from troth.resources.references import Ref
from troth.world.facts.objects import Fault

REASONS: dict[type[BrokerError], str] = {
    UnreachableError: "Unreachable",
    AdminRefusedError: "AdminRefused",
    UnsupportedError: "Unsupported",
    MissingExtraError: "ExtraMissing",
}


class SecretMissingError(BrokerError):
    """A Secret that a broker names does not exist or lacks a key."""


class NewAdminRefusedError(BrokerError):
    """A broker rejects the new admin credential that was set there."""


class StalePlan(Exception):  # noqa: N818 - no error: an object has changed meanwhile
    """The plan no longer applies; plan again."""


class TakenError(BrokerError):
    """An object that Troth does not manage has the name of a ledger."""


def taken(ledger: Ref) -> TakenError:
    """Return the error for a ledger whose name another object has."""
    return TakenError(
        f"ConfigMap {ledger} has the name of the broker's ledger but is not managed by Troth, so "
        "Troth changes nothing at the broker; delete the ConfigMap"
    )


def missing(secret: Ref, key: str = "") -> SecretMissingError:
    """Return the error for a Secret that does not exist or lacks a key."""
    if key:
        return SecretMissingError(f"Secret {secret} has no {key}; add it")
    return SecretMissingError(f"Secret {secret} does not exist; create it")


def fault_of(error: BrokerError | ApiError | TimeoutError, broker: Ref) -> Fault:
    """Return the fault that a status reports for an error.

    `BrokerError` contains a broker's own message, already without secrets. The API server's message
    is not quoted.
    """
    if isinstance(error, SecretMissingError):
        return Fault("SecretMissing", str(error))
    if isinstance(error, TakenError):
        return Fault("Conflict", str(error))
    if isinstance(error, NewAdminRefusedError):
        return Fault("NewAdminRefused", str(error))
    if isinstance(error, BrokerError):
        reasons = (reason for kind, reason in REASONS.items() if isinstance(error, kind))
        return Fault(next(reasons, "BrokerFailed"), str(error))
    if isinstance(error, ApiError):
        cause = cause_of(error)
        message = (
            f"the Secrets or the ledger of MessageBroker {broker} cannot be read or written: "
            f"{error}{', because ' + cause if cause else ''}"
        )
        return Fault("ApiServerFailed", message)
    return Fault("Unreachable", f"requests to MessageBroker {broker} timed out")
