"""Kinds that Troth serves, with their names and columns in kubectl."""

from dataclasses import dataclass
from typing import Any

from troth.resources.findings.exception import FindingException
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.metadata import Resource
from troth.resources.reviews.dead_letter_review import DeadLetterReview
from troth.resources.rotation.spec import CredentialRotation
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.webhooks.endpoint import WebhookEndpoint


@dataclass(frozen=True, slots=True)
class Column:
    """Column of `kubectl get`."""

    name: str
    path: str
    type: str = "string"
    priority: int = 0
    description: str = ""

    def as_printer_column(self) -> dict[str, Any]:
        """Return the column as an item of `additionalPrinterColumns`."""
        column: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        if self.priority:
            column["priority"] = self.priority
        if self.description:
            column["description"] = self.description
        return column


def _condition(type_: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{type_}")].{field}'


READY = Column("Ready", _condition("Ready", "status"))
REASON = Column("Reason", _condition("Ready", "reason"))
PEERS = Column(
    "Peers", _condition("PeersAgree", "status"), description="Whether every peer agrees."
)
EXCLUSIVE = Column(
    "Exclusive",
    _condition("Exclusive", "status"),
    description="Whether nobody else may publish or consume.",
)
MESSAGE = Column("Message", _condition("Ready", "message"), priority=1)
AGE = Column("Age", ".metadata.creationTimestamp", type="date")


@dataclass(frozen=True, slots=True)
class Kind:
    """Kind of a custom resource, with its names and columns."""

    model: type[Resource]
    plural: str
    short_name: str
    namespaced: bool
    columns: tuple[Column, ...]

    @property
    def name(self) -> str:
        """The kind's name, such as `TrustDomain`."""
        return self.model.__name__


KINDS: tuple[Kind, ...] = (
    Kind(
        TrustDomain,
        plural="trustdomains",
        short_name="td",
        namespaced=False,
        columns=(
            Column("Domain", ".spec.domain"),
            Column("Environment", ".spec.environment"),
            READY,
            REASON,
            Column("Authority", ".status.authorities[0].fingerprint", priority=1),
            Column("Expires", ".status.authorities[0].notAfter"),
            MESSAGE,
            AGE,
        ),
    ),
    Kind(
        ServiceIdentity,
        plural="serviceidentities",
        short_name="sid",
        namespaced=True,
        columns=(
            READY,
            REASON,
            PEERS,
            Column("Enforcement", ".spec.enforcement"),
            Column("Expires", ".status.certificate.notAfter"),
            Column("SPIFFE ID", ".status.spiffeID", priority=1),
            Column("Unlisted", ".status.unlistedEdges", type="integer", priority=1),
            MESSAGE,
            AGE,
        ),
    ),
    Kind(
        MessageBroker,
        plural="messagebrokers",
        short_name="mb",
        namespaced=True,
        columns=(
            Column("Environment", ".spec.environment"),
            Column("Mode", ".spec.mode"),
            READY,
            REASON,
            Column("Principals", ".status.principals", type="integer"),
            Column("Foreign", ".status.foreignGrants", type="integer"),
            MESSAGE,
            AGE,
        ),
    ),
    Kind(
        TopicPolicy,
        plural="topicpolicies",
        short_name="tp",
        namespaced=True,
        columns=(
            Column("Broker", ".spec.brokerRef.name"),
            Column("Topic", ".spec.topic.name"),
            Column("Prefix", ".spec.topic.prefix", priority=1),
            READY,
            REASON,
            PEERS,
            EXCLUSIVE,
            MESSAGE,
            AGE,
        ),
    ),
    Kind(
        WebhookEndpoint,
        plural="webhookendpoints",
        short_name="wh",
        namespaced=True,
        columns=(
            Column("Scheme", ".spec.inbound.scheme"),
            Column("Target", ".spec.inbound.target.identity.name"),
            Column("Workflow", ".spec.inbound.target.workflow"),
            READY,
            REASON,
            Column("URL", ".status.url", priority=1),
            MESSAGE,
            AGE,
        ),
    ),
    Kind(
        CredentialRotation,
        plural="credentialrotations",
        short_name="cr",
        namespaced=True,
        columns=(
            Column("Kind", ".spec.target.kind"),
            Column("Target", ".spec.target.name"),
            READY,
            REASON,
            Column("Phase", ".status.phase"),
            Column("Last", ".status.lastRotated", type="date"),
            Column("Next", ".status.nextRotation"),
            MESSAGE,
            AGE,
        ),
    ),
)

"""Kinds that the operator reads and plans. Each has a status."""

UNPLANNED: tuple[Kind, ...] = (
    Kind(
        FindingException,
        plural="findingexceptions",
        short_name="fex",
        namespaced=True,
        columns=(
            Column("Rules", ".spec.rules"),
            Column("Owner", ".spec.owner"),
            Column("Expires", ".spec.expiresAt"),
            Column("Reason", ".spec.reason", priority=1),
            AGE,
        ),
    ),
    Kind(
        DeadLetterReview,
        plural="deadletterreviews",
        short_name="dlr",
        namespaced=True,
        columns=(
            Column("Policy", ".spec.policy.name"),
            Column("Action", ".spec.action"),
            Column("Requested by", ".spec.requestedBy"),
            Column("Approved by", ".spec.approval.approvedBy"),
            Column("Phase", ".status.phase"),
            Column("Letters", ".status.selection.count", type="integer"),
            Column("Redriven", ".status.counts.redriven", type="integer", priority=1),
            Column("Reason", ".spec.reason", priority=1),
            MESSAGE,
            AGE,
        ),
    ),
)
"""Kinds that the operator does not plan. `troth audit` and the auditor read FindingExceptions,
which have no status. `troth review` carries out DeadLetterReviews and writes their statuses."""

EVERY_KIND = (*KINDS, *UNPLANNED)

KIND_BY_NAME = {kind.name: kind for kind in KINDS}
EVERY_KIND_BY_NAME = {kind.name: kind for kind in EVERY_KIND}
