"""Spec of `ServiceIdentity`: one workload, its authentication, its callers and its callees."""

from enum import StrEnum
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from troth.resources.identity.authentication import Authentication
from troth.resources.identity.peers import Accepts, Calls
from troth.resources.identity.status import ServiceIdentityStatus
from troth.resources.metadata import Resource
from troth.resources.references import Ref, Reference
from troth.resources.schema.lists import ATOMIC, BY_KIND_AND_NAME, BY_NAME, SET
from troth.resources.schema.model import Model
from troth.resources.schema.rules import Rule
from troth.resources.schema.scalars import (
    ContextName,
    Name,
    PortName,
    PortNumber,
    Scope,
    unique_by,
)
from troth.resources.schema.sharing import shared
from troth.resources.selectors import LabelSelector


class Protocol(StrEnum):
    """Transport protocol of a port."""

    TCP = "TCP"
    UDP = "UDP"


class Port(Model):
    """Port on which the workload listens."""

    name: PortName
    """Name of the port. Peers refer to the port by this name."""
    port: PortNumber
    """Port number on which the pods listen."""
    protocol: Protocol = Protocol.TCP
    """Transport protocol. Default TCP."""


class Workload(Model):
    """Pods that have the identity."""

    service_account_name: Name
    """ServiceAccount of the pods. It is part of the SPIFFE ID, so no two identities may share
    one."""
    pod_selector: LabelSelector
    """Selector of the pods. No two identities of a namespace may select the same pod."""
    ports: Annotated[
        tuple[Port, ...],
        Field(max_length=16),
        BY_NAME,
        unique_by(
            "[string(x.port), x.protocol]",
            lambda port: (port.port, port.protocol),
            "declare every port number once for each protocol",
        ),
    ] = ()
    """Ports on which the pods listen."""


class Exceptions(Model):
    """Ports that are open to probes and metrics, whose sources the TrustDomain describes."""

    probes: Annotated[tuple[PortName, ...], Field(max_length=16), SET] = ()
    """Names of the ports that the kubelet probes."""
    metrics: Annotated[tuple[PortName, ...], Field(max_length=16), SET] = ()
    """Names of the ports that the metrics collector scrapes."""


class ContextItem(StrEnum):
    """Item of the propagated context."""

    SUBJECT = "Subject"
    TENANT = "Tenant"
    REQUEST_ID = "RequestID"


class Requires(Model):
    """Context that every caller must send."""

    context: Annotated[tuple[ContextItem, ...], Field(max_length=3), SET] = ()
    """Context items that must be present and verified."""


class StartsTransactions(Model):
    """Permission to start a transaction for each request that enters here."""

    scopes: Annotated[tuple[Scope, ...], Field(max_length=32), SET] = ()
    """Scopes that its transactions may have."""
    context: Annotated[tuple[ContextName, ...], Field(max_length=16), SET] = ()
    """Names of context, such as channel, that the workload may add for a request in addition to the
    tenant."""


class ServesWebhooks(Model):
    """Settings of a webhook gateway.

    A gateway verifies deliveries and forwards them to the targets that WebhookEndpoints name.
    """

    allowed_namespaces: LabelSelector
    """Namespaces whose WebhookEndpoints the gateway serves."""


class TopicUse(Model):
    """Policy under which a workload publishes or consumes messages."""

    policy: Reference
    """TopicPolicy of the topic. It must name this identity."""


class WorkloadKind(StrEnum):
    """Kind of a workload that Troth can restart."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"


class WorkloadReference(Model):
    """Reference to a workload in this namespace."""

    kind: WorkloadKind
    """Kind of the workload."""
    name: Name
    """Name of the workload."""


class OnRotation(Model):
    """Actions when the Secret has a new certificate or new roots."""

    restart: Annotated[
        tuple[WorkloadReference, ...], Field(min_length=1, max_length=8), BY_KIND_AND_NAME
    ]
    """Workloads that Troth restarts, one after the other, because their programs do not reread
    files. Their pods must be those that workload.podSelector selects."""


class Enforcement(StrEnum):
    """Whether Troth writes the NetworkPolicy or only plans it."""

    ENFORCE = "Enforce"
    OBSERVE = "Observe"


def _ports_declared(spec: "ServiceIdentitySpec") -> bool:
    declared = {port.name for port in spec.workload.ports}
    named = [*spec.exceptions.probes, *spec.exceptions.metrics]
    named.extend(port for accepted in spec.accepts for port in accepted.ports)
    return declared.issuperset(named)


def _cel_declared(ports: str) -> str:
    return f"{ports}.all(p, has(self.workload.ports) && self.workload.ports.exists(q, q.name == p))"


# For each field of an object that an expression reads, the API server copies the schemas of all
# fields of that object, and it evaluates all rules at each write of the status, too. So the rule
# asks once, and not for each caller, whether there are ports. A caller names at least one.
_CEL_ACCEPTED_DECLARED = (
    "has(self.workload.ports) ? self.accepts.all(a, a.ports.all(p, "
    "self.workload.ports.exists(q, q.name == p))) : size(self.accepts) == 0"
)


class ServiceIdentitySpec(Model):
    """Desired state of an identity."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"(!has(self.accepts) || ({_CEL_ACCEPTED_DECLARED})) && "
            "(!has(self.exceptions) || ("
            f"(!has(self.exceptions.probes) || {_cel_declared('self.exceptions.probes')}) && "
            f"(!has(self.exceptions.metrics) || {_cel_declared('self.exceptions.metrics')})))",
            message="declare under workload.ports every port that accepts or exceptions name",
            holds=_ports_declared,
        ),
        Rule(
            cel="!has(self.authentication.gatewayOnly) || !has(self.accepts) || "
            "self.accepts.all(a, has(a.from) && "
            "a.from.name == self.authentication.gatewayOnly.gateway.name && "
            "has(a.from.__namespace__) == "
            "has(self.authentication.gatewayOnly.gateway.__namespace__) && "
            "(!has(a.from.__namespace__) || "
            "a.from.__namespace__ == self.authentication.gatewayOnly.gateway.__namespace__))",
            message="with gatewayOnly, accept only the gateway, written exactly as in "
            "gatewayOnly.gateway",
            holds=lambda spec: (
                spec.authentication.gateway_only is None
                or all(
                    accepted.from_ == spec.authentication.gateway_only.gateway
                    for accepted in spec.accepts
                )
            ),
        ),
        Rule(
            cel="!has(self.authentication.gatewayOnly) || !has(self.calls) || "
            "self.calls.all(c, !has(c.to))",
            message="a gatewayOnly workload has no identity to present to a callee; use mtls or "
            "token to call another ServiceIdentity",
            holds=lambda spec: (
                spec.authentication.gateway_only is None
                or all(call.to is None for call in spec.calls)
            ),
        ),
        Rule(
            cel="!has(self.onRotation) || !has(self.authentication.gatewayOnly)",
            message="remove onRotation; a gatewayOnly workload has no certificate that rotates",
            holds=lambda spec: spec.on_rotation is None or spec.authentication.gateway_only is None,
        ),
        Rule(
            cel="!has(self.startsTransactions) || !has(self.authentication.gatewayOnly)",
            message="remove startsTransactions; a gatewayOnly workload has no identity with which "
            "it could request a transaction token",
            holds=lambda spec: (
                spec.starts_transactions is None or spec.authentication.gateway_only is None
            ),
        ),
        Rule(
            cel="!has(self.servesWebhooks) || !has(self.authentication.gatewayOnly)",
            message="use mtls or token to serve webhooks; a gatewayOnly workload has no identity "
            "with which it could forward deliveries",
            holds=lambda spec: (
                spec.serves_webhooks is None or spec.authentication.gateway_only is None
            ),
        ),
    )

    workload: Workload
    """Pods that have the identity."""
    authentication: Annotated[Authentication, shared()]
    """Authentication of the workload. Set exactly one field."""
    accepts: Annotated[
        tuple[Annotated[Accepts, shared()], ...],
        Field(max_length=64, json_schema_extra=ATOMIC),
    ] = ()
    """Callers that may call the workload, and on which ports. All others are denied."""
    calls: Annotated[
        tuple[Annotated[Calls, shared()], ...],
        Field(max_length=64, json_schema_extra=ATOMIC),
    ] = ()
    """Destinations that the workload calls. It can reach no others."""
    publishes: Annotated[tuple[TopicUse, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Policies under which the workload publishes messages. A policy that is not listed grants it
    nothing."""
    consumes: Annotated[tuple[TopicUse, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Policies under which the workload consumes messages, and publishes those that it could not
    consume to the dead-letter topic."""
    reviews: Annotated[tuple[TopicUse, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Policies whose dead letters the workload reviews, as `troth review` does. A policy must name
    it as deadLetter.reviewer."""
    exceptions: Exceptions = Exceptions()
    """Ports that are open to probes and metrics."""
    requires: Requires = Requires()
    """Context that every caller must send."""
    starts_transactions: StartsTransactions | None = None
    """Permission to request transaction tokens, for a workload at which requests enter."""
    serves_webhooks: ServesWebhooks | None = None
    """Settings that make this workload a webhook gateway. A WebhookEndpoint that names this
    identity as its gateway declares the gateway's call to the target. The target must accept the
    gateway like any other caller."""
    enforcement: Enforcement = Enforcement.ENFORCE
    """Enforcement mode. Enforce (default): Troth writes the NetworkPolicy. Observe: Troth plans and
    reports everything, and writes no NetworkPolicy."""
    on_rotation: OnRotation | None = None
    """Actions when the Secret has a new certificate or new roots, for programs that do not reread
    their files."""


class ServiceIdentity(Resource):
    """Identity of one workload: its authentication, its callers and its callees."""

    kind: Literal["ServiceIdentity"] = "ServiceIdentity"
    spec: ServiceIdentitySpec
    status: ServiceIdentityStatus = ServiceIdentityStatus()

    @cached_property
    def ref(self) -> Ref:
        """Namespace and name of the identity."""
        return Ref(self.metadata.namespace or "default", self.metadata.name)
