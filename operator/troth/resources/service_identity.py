"""`ServiceIdentity`: one workload, how it proves itself, whom it accepts and whom it calls."""

from datetime import datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from troth.resources.algorithms import KeyAlgorithm
from troth.resources.lists import ATOMIC, BY_KIND_AND_NAME, BY_NAME, SET
from troth.resources.metadata import Resource
from troth.resources.model import Model, exactly_one
from troth.resources.references import Ref, Reference
from troth.resources.rules import Rule
from troth.resources.scalars import (
    CIDR,
    DNSName,
    Duration,
    Flag,
    Moment,
    Name,
    PortName,
    PortNumber,
    Scope,
    Sentence,
    duration_between,
    unique_by,
)
from troth.resources.selectors import LabelSelector
from troth.resources.service_identity_status import ServiceIdentityStatus

GATEWAY_TRUST_LIMIT = timedelta(days=90)
"""How far ahead the end of gateway-only trust may lie."""


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


class Keystore(StrEnum):
    """A keystore format, for programs that do not read PEM."""

    PKCS12 = "PKCS12"


class MTLS(Model):
    """Identity by an X.509-SVID that both sides of a connection present."""

    dns_names: Annotated[tuple[DNSName, ...], Field(max_length=16), SET] = ()
    """DNS names beside those of the workload's Services, each under a suffix that the TrustDomain
    allows."""
    key_algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256
    """The algorithm of the leaf's key."""
    lifetime: Annotated[Duration, duration_between("5m", "2160h")] | None = None
    """The leaf's lifetime, where it should be shorter than the TrustDomain's."""
    keystores: Annotated[tuple[Keystore, ...], Field(max_length=1), SET] = ()
    """Keystores to write beside the PEM files."""


class GatewayOnly(Model):
    """Trust in a gateway's word, for very simple topologies, with an end date."""

    gateway: Reference
    """The gateway's ServiceIdentity: the only one that may be accepted."""
    reason: Sentence
    """Why nothing better serves yet."""
    owner: Annotated[Sentence, StringConstraints(min_length=1)]
    """Who answers for it."""
    expires_at: Moment
    """When it ends, at most 90 days ahead; from then on nobody is accepted."""

    @property
    def counts_from(self) -> datetime:
        """When its end is near enough for it to be accepted."""
        return self.expires_at - GATEWAY_TRUST_LIMIT


class Authentication(Model):
    """How the workload proves itself; exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "mtls",
            "gateway_only",
            message="choose exactly one way of authentication: mtls, or gatewayOnly with an end "
            "date",
        ),
    )

    mtls: MTLS | None = None
    """An X.509-SVID in a Secret, and the trust bundle."""
    gateway_only: GatewayOnly | None = None
    """Trust in a named gateway, for very simple topologies."""


class Unverified(Model):
    """A peer without an identity: opened on the network only, counted, reported, without scopes."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.cidrs) != (has(self.namespaceSelector) || has(self.podSelector))",
            message="describe the unverified peer either by cidrs, or by namespaceSelector and "
            "podSelector",
            holds=lambda it: (
                (it.cidrs is not None)
                != (it.namespace_selector is not None or it.pod_selector is not None)
            ),
        ),
    )

    namespace_selector: LabelSelector | None = None
    """The peer's namespaces; this namespace when only podSelector is given."""
    pod_selector: LabelSelector | None = None
    """The peer's pods; all pods of the namespaces when left out. The workload's own pods have an
    identity and are never meant."""
    cidrs: Annotated[tuple[CIDR, ...], Field(min_length=1, max_length=32), SET] | None = None
    """The peer's networks, when it is not in the cluster."""
    reason: Sentence
    """Why a peer without an identity is let in."""


class Accepts(Model):
    """One peer that may call."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "from_",
            "unverified",
            message="name exactly one peer: from, a ServiceIdentity, or unverified",
        ),
        Rule(
            cel="!has(self.unverified) || !has(self.scopes) || size(self.scopes) == 0",
            message="leave scopes out; a peer without an identity is never given any",
            holds=lambda it: it.unverified is None or not it.scopes,
        ),
    )

    from_: Reference | None = None
    """The caller's ServiceIdentity."""
    unverified: Unverified | None = None
    """A caller without an identity."""
    ports: Annotated[tuple[PortName, ...], Field(min_length=1, max_length=16), SET]
    """The names of the workload's ports that it may call."""
    scopes: Annotated[tuple[Scope, ...], Field(max_length=32), SET] = ()
    """What it may do there; enforced by the service from identity.json."""


class External(Model):
    """A destination outside the cluster."""

    host: DNSName
    """The destination's name, for the reader and for TLS; a NetworkPolicy knows only cidrs."""
    cidrs: Annotated[tuple[CIDR, ...], Field(min_length=1, max_length=32), SET]
    """The destination's networks."""
    ports: Annotated[tuple[PortNumber, ...], Field(min_length=1, max_length=16), SET]
    """The destination's TCP ports."""


class Calls(Model):
    """One destination that the workload calls."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "to",
            "external",
            "kubernetes_api",
            message="name exactly one destination: to, a ServiceIdentity, external, or "
            "kubernetesAPI",
        ),
        Rule(
            cel="has(self.to) == (has(self.ports) && size(self.ports) > 0)",
            message="name the callee's ports beside to, and nowhere else",
            holds=lambda it: (it.to is not None) == bool(it.ports),
        ),
    )

    to: Reference | None = None
    """The callee's ServiceIdentity."""
    ports: Annotated[tuple[PortName, ...], Field(max_length=16), SET] = ()
    """The names of the callee's ports."""
    external: External | None = None
    """A destination outside the cluster."""
    kubernetes_api: (
        Annotated[
            Flag,
            Rule(
                cel="self",
                message="write kubernetesAPI: true, or leave the entry out",
                holds=lambda value: value,
            ),
        ]
        | None
    ) = None
    """The cluster's API server; its endpoints are looked up."""


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
            message="a gatewayOnly workload has no identity to present to a callee; use mtls to "
            "call another ServiceIdentity",
            holds=lambda spec: (
                spec.authentication.gateway_only is None
                or all(call.to is None for call in spec.calls)
            ),
        ),
        Rule(
            cel="!has(self.onRotation) || has(self.authentication.mtls)",
            message="leave onRotation out; without mtls there is no certificate that rotates",
            holds=lambda spec: spec.on_rotation is None or spec.authentication.mtls is not None,
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
    exceptions: Exceptions = Exceptions()
    """Ports opened to probes and metrics."""
    requires: Requires = Requires()
    """What a caller must carry."""
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
