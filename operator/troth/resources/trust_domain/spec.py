"""Spec of `TrustDomain`: a SPIFFE trust domain, its authority and the namespaces it governs."""

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from troth.resources.algorithms import KeyAlgorithm
from troth.resources.metadata import NAME_RULE, Resource
from troth.resources.references import LocalReference
from troth.resources.schema.lists import BY_NAME, BY_SUFFIX, SET
from troth.resources.schema.model import Model, exactly_one
from troth.resources.schema.rules import Immutable, Rule
from troth.resources.schema.scalars import (
    CIDR,
    DNSName,
    Duration,
    Environment,
    Flag,
    IssuerURL,
    Name,
    NamespaceName,
    PortNumber,
    TrustDomainName,
    duration_between,
    is_duration,
)
from troth.resources.selectors import LabelSelector
from troth.resources.trust_domain.proving import Proving
from troth.resources.trust_domain.status import SPEC_LIMIT, Isolation, TrustDomainStatus

_SERVICE_NAME = "[a-z]([-a-z0-9]{0,54}[a-z0-9])?"
"""Pattern of a name that is still a valid Service name with `-issuer` added."""


class SelfManaged(Model):
    """Root that Troth creates and keeps."""

    key_algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256
    """Algorithm of the root's key. Default ECDSA-P256."""
    lifetime: Annotated[Duration, duration_between("1h", "87600h")] = timedelta(hours=8760)
    """Lifetime of the root. Default 8760h."""
    confined: Flag = True
    """Whether federated domains may trust the root. They then get a second certificate of it, whose
    name constraints confine it to the trust domain. The domain itself gets one that every TLS
    library accepts. Default true. A change applies to the next root."""


class Authority(Model):
    """Source of the domain's certificates. Set exactly one field."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "self_managed",
            "secret_ref",
            message="set exactly one of selfManaged and secretRef (a CA that you provide)",
        ),
    )

    self_managed: SelfManaged | None = None
    """Root that Troth creates, keeps and rotates."""
    secret_ref: LocalReference | None = None
    """Secret in Troth's own namespace with a CA that you provide. It holds tls.crt (the CA and its
    chain), tls.key, and ca.crt (the root) if the chain does not end in the root."""


class DNSSuffix(Model):
    """DNS suffix that belongs to namespaces."""

    suffix: DNSName
    """Suffix, such as pay.shop.example. It covers itself and every name under it, except those that
    a longer suffix of the list covers."""
    namespace_selector: LabelSelector
    """Namespaces whose identities may request names under the suffix. The label
    kubernetes.io/metadata.name selects a namespace by its name."""


class Certificates(Model):
    """Settings for every leaf of the domain."""

    lifetime: Annotated[Duration, duration_between("5m", "2160h")] = timedelta(hours=24)
    """Default and maximum lifetime of a leaf. Default 24h. A leaf never outlives its authority."""
    dns_names: Annotated[tuple[DNSSuffix, ...], Field(max_length=32), BY_SUFFIX] = ()
    """DNS suffixes, and the namespaces to which each belongs. Identities of other namespaces cannot
    request names under it. The names of a workload's own Services need no permission, and nobody
    can request those of another namespace's Services."""


class Bundle(Model):
    """Trust bundle that Troth writes to every governed namespace."""

    config_map_name: Name = "trust-bundle"
    """Name of the ConfigMap in every governed namespace. Default trust-bundle. Its key ca.crt holds
    the roots to trust."""
    propagation: Annotated[Duration, duration_between("1s", "24h")] = timedelta(minutes=3)
    """Propagation delay: time until mounts show a write. Default 3m. A kubelet can take more than a
    minute to update its pods, and programs reread files at their own pace. A rotation waits for
    this time before it relies on a write."""


class Tokens(Model):
    """Settings of the signed tokens that the domain issues."""

    issuer: IssuerURL | None = None
    """URL of the issuer, as written in every token. Defaults to the URL of the issuer's Service in
    Troth's namespace."""
    key_lifetime: Annotated[Duration, duration_between("24h", "8760h")] = timedelta(hours=720)
    """Age at which the next key replaces the key that signs tokens. Default 720h."""


class Consent(StrEnum):
    """Sides that must declare an edge before it opens."""

    MUTUAL = "Mutual"
    CALLEE = "Callee"


class Resolver(Model):
    """DNS resolver of the cluster, the only one that enrolled workloads can reach."""

    namespace: NamespaceName = "kube-system"
    """Namespace of the resolver. Default kube-system."""
    pod_selector: LabelSelector = LabelSelector(match_labels={"k8s-app": "kube-dns"})
    """Selector of the resolver's pods. Default k8s-app: kube-dns."""
    port: PortNumber = 53
    """Port on which the resolver's pods listen, over UDP and TCP. Default 53."""


class MetricsCollector(Model):
    """Pods that scrape metrics."""

    namespace: NamespaceName
    """Namespace of the collector."""
    pod_selector: LabelSelector
    """Selector of the collector's pods."""


class Probes(Model):
    """Source of the kubelet's probes, for cluster networks that deny traffic from the node."""

    cidrs: Annotated[tuple[CIDR, ...], Field(min_length=1, max_length=32), SET]
    """Networks of the nodes, as CIDRs."""


class Network(Model):
    """Network access of every workload of the domain, in addition to its declared peers."""

    dns: Resolver = Resolver()
    """DNS resolver of the cluster, the only one that enrolled workloads can reach."""
    metrics: MetricsCollector | None = None
    """Pods that can reach the ports in exceptions.metrics of identities."""
    probes: Probes | None = None
    """Networks that can reach the ports in exceptions.probes of identities."""


class TrustDomainSpec(Model):
    """Desired state of a trust domain."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.allowEnvironments) || !(self.environment in self.allowEnvironments)",
            message="remove the domain's own environment from allowEnvironments; it is always "
            "allowed",
            holds=lambda spec: spec.environment not in spec.allow_environments,
        ),
        Rule(
            cel="!has(self.authority.selfManaged) || !has(self.certificates) || "
            f"!{is_duration('self.certificates.lifetime')} || "
            f"!{is_duration('self.authority.selfManaged.lifetime')} || "
            "duration(self.certificates.lifetime) < "
            "duration(self.authority.selfManaged.lifetime)",
            message="make certificates.lifetime shorter than authority.selfManaged.lifetime; a "
            "leaf never outlives its authority",
            holds=lambda spec: (
                spec.authority.self_managed is None
                or spec.certificates.lifetime < spec.authority.self_managed.lifetime
            ),
        ),
    )

    domain: Annotated[
        TrustDomainName, Immutable("domain cannot change; create a new TrustDomain instead")
    ]
    """Name of the SPIFFE trust domain. Immutable."""
    environment: Annotated[
        Environment, Immutable("environment cannot change; create a new TrustDomain instead")
    ]
    """Environment of all namespaces that the domain governs. Immutable."""
    namespace_selector: LabelSelector
    """Namespaces that the domain governs. If two domains select a namespace, neither governs it."""
    authority: Authority
    """Source of the domain's certificates. Set exactly one field."""
    certificates: Certificates = Certificates()
    """Settings for every leaf of the domain."""
    bundle: Bundle = Bundle()
    """Trust bundle that Troth writes to every governed namespace."""
    tokens: Tokens | None = None
    """Settings of the signed tokens that the domain issues. Without them it issues none."""
    consent: Consent = Consent.MUTUAL
    """Sides that must declare an edge before it opens. Mutual (default): caller and callee. Callee:
    the callee alone."""
    allow_environments: Annotated[tuple[Environment, ...], Field(max_length=16), SET] = ()
    """Other environments whose identities may be peers of this domain's identities."""
    federates_with: Annotated[
        tuple[LocalReference, ...],
        Field(max_length=16),
        BY_NAME,
    ] = ()
    """TrustDomains whose identities may be peers. Takes effect when both domains list each
    other."""
    isolation: Isolation | None = None
    """Pods of the governed namespaces that Troth isolates. Namespace: every pod. A pod that no
    identity selects can reach only the resolver, and nothing can reach it. Workload: only the pods
    of identities. Defaults to Namespace for a new TrustDomain. One that was created before Troth
    knew this field keeps Workload until it says otherwise."""
    network: Network = Network()
    """Network access of every workload, in addition to its declared peers."""
    proving: Proving | None = None
    """Schedule of the probes that prove the edges of the domain's identities. Without it, only
    `troth prove` on request makes probes."""


class TrustDomain(Resource):
    """SPIFFE trust domain: its environment, its authority, and the namespaces it governs."""

    rules: ClassVar[tuple[Rule, ...]] = (
        NAME_RULE,
        Rule(
            cel=f"!has(self.spec.tokens) || self.metadata.name.matches('^{_SERVICE_NAME}$')",
            message="with tokens, choose a name of at most 56 lower-case letters, digits and '-' "
            "that begins with a letter; the issuer's Service is named after it",
            holds=lambda domain: (
                domain.spec.tokens is None
                or re.fullmatch(_SERVICE_NAME, domain.metadata.name, re.ASCII) is not None
            ),
        ),
    )

    kind: Literal["TrustDomain"] = "TrustDomain"
    spec: TrustDomainSpec
    status: TrustDomainStatus = TrustDomainStatus()

    @property
    def readable_spec(self) -> str | None:
        """The spec for the status, as JSON; None if it is too long.

        It has no defaults, so an older version reads it even if it does not know all fields.
        """
        text = self.spec.model_dump_json(by_alias=True, exclude_defaults=True)
        return text if len(text) <= SPEC_LIMIT else None
