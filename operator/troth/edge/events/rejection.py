"""Rejection of an event: the check that failed, and a sentence for its owner."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Name of the check that an event failed. The names never change: programs compare them."""

    MALFORMED = "Malformed"
    """The message is not a CloudEvent in the form that Troth specifies."""
    TOO_LARGE = "TooLarge"
    """Data or attributes exceed their maximum size."""
    NOT_GRANTED = "NotGranted"
    """This workload may not consume by the policy."""
    UNSIGNED = "Unsigned"
    """The message has no seal."""
    SIGNATURE_INVALID = "SignatureInvalid"
    """The seal is not that of this message, or its signature is invalid."""
    CERTIFICATE_INVALID = "CertificateInvalid"
    """No authority of the producer's trust domain vouches for the producer at the event's time."""
    PRODUCER_NOT_GRANTED = "ProducerNotGranted"
    """The producer may not publish by the policy."""
    WRONG_POLICY = "WrongPolicy"
    """The event was sealed for another policy or another broker."""
    WRONG_ENVIRONMENT = "WrongEnvironment"
    """The event was sealed for another environment."""
    WRONG_TOPIC = "WrongTopic"
    """The event was sealed for another topic, or the policy does not include its topic."""
    EXPIRED = "Expired"
    """The event is older than the policy's maximum age."""
    NOT_YET_VALID = "NotYetValid"
    """The time of the event is in the future."""
    TIME_MISMATCH = "TimeMismatch"
    """The broker stored the event at another time than the event says."""
    CONTEXT_MISSING = "ContextMissing"
    """The event lacks a context item that the policy requires."""
    TRANSACTION_TOKEN_INVALID = "TransactionTokenInvalid"  # noqa: S105 - a reason's name
    """The event's transaction token is invalid, or belongs to another subject or tenant."""
    TENANT_NOT_ACCEPTED = "TenantNotAccepted"
    """This consumer does not accept events of the tenant."""
    SCHEMA_UNAVAILABLE = "SchemaUnavailable"
    """The policy's schema cannot be used."""
    SCHEMA_UNKNOWN = "SchemaUnknown"
    """The event names a schema that is not accepted."""
    SCHEMA_INVALID = "SchemaInvalid"
    """The data does not satisfy the schema."""
    REDRIVE_INVALID = "RedriveInvalid"
    """The message was not delivered again by a review of this consumer's dead letters."""
    NOT_ADDRESSED = "NotAddressed"
    """A review delivered the message again, to another consumer. It is no fault of the message."""
    DUPLICATE = "Duplicate"
    """The event was consumed before."""
    HANDLER_FAILED = "HandlerFailed"
    """The consumer's own handler failed as often as it may."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Rejection of one message.

    `detail` is one sentence that quotes no data, no token and no certificate. `actor` is the
    producer's SPIFFE ID if its seal was verified, otherwise None. With `RedriveInvalid` it is the
    workload that signed the redrive, if all is valid except that the workload is no reviewer.
    """

    reason: Reason
    detail: str
    actor: str | None = None

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


class RejectedError(Exception):
    """Ends the checks of a message."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.rejection = Rejection(reason, detail)
