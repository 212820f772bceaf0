"""What to do about a rejected event, by the reason of its rejection."""

from collections.abc import Mapping
from types import MappingProxyType

from troth.edge.events.rejection import Reason, Rejection

REMEDIES: Mapping[Reason, str] = MappingProxyType(
    {
        Reason.MALFORMED: "Publish it with troth.edge.events, and let nothing on the way change "
        "its headers.",
        Reason.TOO_LARGE: "Publish less data, or a reference to it.",
        Reason.NOT_GRANTED: "Name another policy or group with --policy and --group; or add this "
        "identity to spec.consumers of the TopicPolicy, and the policy to its spec.consumes.",
        Reason.UNSIGNED: "Find the program that publishes without a sealer; `troth grants TOPIC` "
        "lists the producers.",
        Reason.SIGNATURE_INVALID: "Something changed the event after it was sealed, or somebody "
        "else signed it; have the producer publish it again.",
        Reason.CERTIFICATE_INVALID: "Compare the certificate with the trust bundle of the "
        "consumer; if the root was retired or is compromised, the producer publishes again.",
        Reason.PRODUCER_NOT_GRANTED: "If the producer is legitimate, add it to spec.producers of "
        "the TopicPolicy, and the policy to spec.publishes of its ServiceIdentity.",
        Reason.WRONG_POLICY: "Name the policy it was sealed for with --policy, or have the "
        "producer publish it by this one.",
        Reason.WRONG_ENVIRONMENT: "Find out who brought it here; an event of another environment "
        "is never accepted.",
        Reason.WRONG_TOPIC: "Find out who copied it here; the producer can publish it to this "
        "topic.",
        Reason.EXPIRED: "If consumers may be this late, raise spec.context.maxAge of the "
        "TopicPolicy; to verify it as of an earlier time, add --at TIME.",
        Reason.NOT_YET_VALID: "Synchronize the clocks of the producer and of this machine.",
        Reason.TIME_MISMATCH: "Synchronize the clocks of the producer and of the broker; if they "
        "agree, somebody backdated the event, so replace the producer's key.",
        Reason.CONTEXT_MISSING: "Have the producer seal the event with it, or remove it from "
        "spec.context.require of the TopicPolicy.",
        Reason.TRANSACTION_TOKEN_INVALID: "Have the producer seal the event in the transaction "
        "that it belongs to, without other values for subject, tenant and request ID.",
        Reason.TENANT_NOT_ACCEPTED: "If this consumer may read the tenant's events, add the tenant "
        "to its spec.consumers[].tenants in the TopicPolicy.",
        Reason.SCHEMA_UNAVAILABLE: "Mount the ConfigMap with the schemas of the identity; the "
        "condition SchemaValid of the TopicPolicy says what else is wrong.",
        Reason.SCHEMA_UNKNOWN: "Update the producer, or accept its schema during the rollout with "
        "spec.schema.accept: Previous.",
        Reason.SCHEMA_INVALID: "Correct the producer, or the schema of the TopicPolicy.",
        Reason.REDRIVE_INVALID: "Find out who published it here; only the worker of "
        "spec.deadLetter.reviewer delivers messages again, after a DeadLetterReview.",
        Reason.NOT_ADDRESSED: "Nothing is lost: the consumer that the redrive names handles it.",
        Reason.DUPLICATE: "Nothing is lost: the consumer handled the event before; if it did not, "
        "the producer uses one ID for several events.",
        Reason.HANDLER_FAILED: "Correct the consumer's handler, then publish the event again.",
    }
)


def sentence(rejection: Rejection) -> str:
    """Return what is wrong with an event and what to do, in whole sentences."""
    detail = rejection.detail.rstrip(".")
    first = detail.partition(" ")[0]
    if first.isalpha():  # not a SPIFFE ID or a name
        detail = f"{detail[0].upper()}{detail[1:]}"
    return f"{detail}. {REMEDIES[rejection.reason]}"
