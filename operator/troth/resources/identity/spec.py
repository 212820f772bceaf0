"""`ServiceIdentity`: one workload, how it proves itself, whom it accepts and whom it calls."""

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
from troth.resources.selectors import LabelSelector


class Protocol(StrEnum):
    """The transport of a port."""

    TCP = "TCP"
    UDP = "UDP"


class Port(Model):
    """One port on which the workload listens."""

    name: PortName
    """The port's name, by which peers refer to it."""
    port: PortNumber
    """The number on which the pods listen."""
    protocol: Protocol = Protocol.TCP
    """The transport."""


class Workload(Model):
    """The pods that carry the identity."""

    service_account_name: Name
    """The pods' ServiceAccount. No two identities share one: it is part of the SPIFFE ID."""
    pod_selector: LabelSelector
    """The pods. No two identities of a namespace may select the same pod."""
    ports: Annotated[
        tuple[Port, ...],
        Field(max_length=16),
        BY_NAME,
        unique_by("x.name", lambda port: port.name, "give every port a name of its own"),
        unique_by(
            "[string(x.port), x.protocol]",
            lambda port: (port.port, port.protocol),
            "declare every port number once for each protocol",
        ),
    ] = ()
    """The ports on which the pods listen."""


class Exceptions(Model):
    """Ports opened to the cluster's own machinery, as the TrustDomain describes it."""

    probes: Annotated[tuple[PortName, ...], Field(max_length=16), SET] = ()
    """The ports that the kubelet probes."""
    metrics: Annotated[tuple[PortName, ...], Field(max_length=16), SET] = ()
    """The ports that the metrics collector scrapes."""


class ContextItem(StrEnum):
    """One item of the propagated context."""

    SUBJECT = "Subject"
    TENANT = "Tenant"
    REQUEST_ID = "RequestID"


class Requires(Model):
    """What a caller must carry."""

    context: Annotated[tuple[ContextItem, ...], Field(max_length=3), SET] = ()
    """The context items that must be present and verified."""


class StartsTransactions(Model):
    """That requests enter here: for each, the workload may begin a transaction."""

    scopes: Annotated[tuple[Scope, ...], Field(max_length=32), SET] = ()
    """What its transactions may be for."""
    context: Annotated[tuple[ContextName, ...], Field(max_length=16), SET] = ()
    """What it may tell of a request beside the tenant, such as channel."""


class ServesWebhooks(Model):
    """That webhooks come in here: the workload is a gateway, which verifies deliveries and hands
    them on to the targets that WebhookEndpoints name.
    """

    allowed_namespaces: LabelSelector
    """The namespaces whose WebhookEndpoints the gateway serves."""


class TopicUse(Model):
    """One policy by which a workload takes part in messages."""

    policy: Reference
    """The TopicPolicy; it names this identity."""


class WorkloadKind(StrEnum):
    """The kinds of workload that can be restarted."""

    DEPLOYMENT = "Deployment"
    STATEFUL_SET = "StatefulSet"
    DAEMON_SET = "DaemonSet"


class WorkloadReference(Model):
    """Names a workload of this namespace."""

    kind: WorkloadKind
    """The workload's kind."""
    name: Name
    """The workload's name."""


class OnRotation(Model):
    """What is done when the Secret has a new certificate or new roots."""

    restart: Annotated[
        tuple[WorkloadReference, ...], Field(min_length=1, max_length=8), BY_KIND_AND_NAME
    ]
    """Workloads to restart, one after the other, because their programs do not reread files. Their
    pods must be those that workload.podSelector selects."""


class Enforcement(StrEnum):
    """Whether the NetworkPolicy is written or only planned."""

    ENFORCE = "Enforce"
    OBSERVE = "Observe"


def _ports_declared(spec: "ServiceIdentitySpec") -> bool:
    declared = {port.name for port in spec.workload.ports}
    named = [*spec.exceptions.probes, *spec.exceptions.metrics]
    named.extend(port for accepted in spec.accepts for port in accepted.ports)
    return declared.issuperset(named)


def _cel_declared(ports: str) -> str:
    return f"{ports}.all(p, has(self.workload.ports) && self.workload.ports.exists(q, q.name == p))"


class ServiceIdentitySpec(Model):
    """What a service is, and whom it trusts."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel=f"(!has(self.accepts) || self.accepts.all(a, {_cel_declared('a.ports')})) && "
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
            message="with gatewayOnly accept the gateway itself and nobody else, written as under "
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
            message="leave onRotation out; without mtls or token there is no certificate that "
            "rotates",
            holds=lambda spec: spec.on_rotation is None or spec.authentication.gateway_only is None,
        ),
        Rule(
            cel="!has(self.startsTransactions) || !has(self.authentication.gatewayOnly)",
            message="leave startsTransactions out; a gatewayOnly workload has no identity to "
            "vouch for a request with",
            holds=lambda spec: (
                spec.starts_transactions is None or spec.authentication.gateway_only is None
            ),
        ),
        Rule(
            cel="!has(self.servesWebhooks) || !has(self.authentication.gatewayOnly)",
            message="use mtls or token to serve webhooks; a gatewayOnly workload has no identity "
            "to hand deliveries on with",
            holds=lambda spec: (
                spec.serves_webhooks is None or spec.authentication.gateway_only is None
            ),
        ),
    )

    workload: Workload
    """The pods that carry the identity."""
    authentication: Authentication
    """How the workload proves itself."""
    accepts: Annotated[tuple[Accepts, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Who may call, and on which ports; nobody else can."""
    calls: Annotated[tuple[Calls, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Whom the workload calls; it can reach nobody else."""
    publishes: Annotated[tuple[TopicUse, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """The policies by which it publishes messages; a policy that is not listed gives it nothing."""
    consumes: Annotated[tuple[TopicUse, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """The policies by which it consumes messages, and puts aside those that it could not."""
    exceptions: Exceptions = Exceptions()
    """Ports opened to probes and metrics."""
    requires: Requires = Requires()
    """What a caller must carry."""
    starts_transactions: StartsTransactions | None = None
    """That requests enter here, for which the workload may have transaction tokens made."""
    serves_webhooks: ServesWebhooks | None = None
    """That webhooks come in here. The WebhookEndpoints that name this identity as their gateway are
    its side of the calls to their targets; each target accepts it as any other caller."""
    enforcement: Enforcement = Enforcement.ENFORCE
    """Enforce: the NetworkPolicy is written. Observe: everything is planned and reported, and no
    policy is written."""
    on_rotation: OnRotation | None = None
    """What is done when the Secret has a new certificate or new roots, for programs that do not
    reread their files."""


class ServiceIdentity(Resource):
    """One workload: how it proves itself, whom it accepts and whom it calls."""

    kind: Literal["ServiceIdentity"] = "ServiceIdentity"
    spec: ServiceIdentitySpec
    status: ServiceIdentityStatus = ServiceIdentityStatus()

    @cached_property
    def ref(self) -> Ref:
        """Where the identity is."""
        return Ref(self.metadata.namespace or "default", self.metadata.name)
