"""Why a broker could not be looked at or changed, as a status tells it."""

from troth.brokers.protocol import (
    AdminRefusedError,
    BrokerError,
    MissingExtraError,
    UnreachableError,
    UnsupportedError,
)
from troth.cluster.errors import ApiError
from troth.resources.references import Ref
from troth.world.facts.objects import Fault

REASONS: dict[type[BrokerError], str] = {
    UnreachableError: "Unreachable",
    AdminRefusedError: "AdminRefused",
    UnsupportedError: "Unsupported",
    MissingExtraError: "ExtraMissing",
}


class SecretMissingError(BrokerError):
    """A Secret that a broker names is not there, or has not what it should."""


class NewAdminRefusedError(BrokerError):
    """A broker was told another admin credential and does not take it."""


class StalePlan(Exception):  # noqa: N818 - not an error: the world has moved on meanwhile
    """What was planned does not hold any more; it is planned anew."""


class TakenError(BrokerError):
    """What is not Troth's stands where a ledger belongs."""


def taken(ledger: Ref) -> TakenError:
    """Return the error for a ledger's place that is taken."""
    return TakenError(
        f"ConfigMap {ledger} has the name of the broker's ledger but is not managed by Troth, so "
        "Troth changes nothing at the broker; delete the ConfigMap"
    )


def missing(secret: Ref, key: str = "") -> SecretMissingError:
    """Return the error for a Secret that is not there, or that lacks a key."""
    if key:
        return SecretMissingError(f"Secret {secret} has no {key}; add it")
    return SecretMissingError(f"Secret {secret} does not exist; create it")


def fault_of(error: BrokerError | ApiError | TimeoutError, broker: Ref) -> Fault:
    """Return what a status says of an error; a broker's own words are in `BrokerError` already
    without any secret, and the API server's are not quoted.
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
        message = (
            f"the Secrets or the ledger of MessageBroker {broker} cannot be read or written: "
            f"{error}"
        )
        return Fault("ApiServerFailed", message)
    return Fault("Unreachable", f"requests to MessageBroker {broker} timed out")
