"""`TrustDomain`: a SPIFFE trust domain, its authority, and the namespaces it governs."""

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from troth.resources.algorithms import KeyAlgorithm
from troth.resources.metadata import NAME_RULE, Resource
from troth.resources.references import LocalReference
from troth.resources.schema.lists import BY_NAME, SET
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
from troth.resources.trust_domain.status import TrustDomainStatus

_SERVICE_NAME = "[a-z]([-a-z0-9]{0,54}[a-z0-9])?"
"""A name to which `-issuer` can be added to name a Service."""


class SelfManaged(Model):
    """A root that Troth makes and keeps."""

    key_algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256
    """The algorithm of the root's key."""
    lifetime: Annotated[Duration, duration_between("1h", "87600h")] = timedelta(hours=8760)
    """How long the root is valid."""
    confined: Flag = True
    """Whether the root's own name constraints confine it to the trust domain. Some verifiers, such
    as rustls, refuse every path with such constraints; a root without them is never trusted by a
    federated domain."""


class Authority(Model):
    """Where the domain's certificates come from; exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "self_managed",
            "secret_ref",
            message="choose exactly one authority: selfManaged, or secretRef for a given CA",
        ),
    )

    self_managed: SelfManaged | None = None
    """A root that Troth makes, keeps and replaces."""
    secret_ref: LocalReference | None = None
    """A given CA: a Secret in Troth's own namespace with tls.crt (the CA and its chain), tls.key,
    and ca.crt (the root) where the chain does not end in it."""


class Certificates(Model):
    """What holds for every leaf of the domain."""

    lifetime: Annotated[Duration, duration_between("5m", "2160h")] = timedelta(hours=24)
    """The default and the ceiling of a leaf's lifetime; a leaf never outlives its authority."""
    dns_suffixes: Annotated[tuple[DNSName, ...], Field(max_length=32), SET] = ()
    """The DNS suffixes under which identities may ask for names of their own, such as
    shop.example. The names of a workload's Services need no permission."""


class Bundle(Model):
    """Where the roots to trust are written."""

    config_map_name: Name = "trust-bundle"
    """The ConfigMap that every governed namespace gets; its key ca.crt holds the roots."""
    propagation: Annotated[Duration, duration_between("1s", "24h")] = timedelta(minutes=3)
    """How long readers may take to see a write: a kubelet takes up to a minute and more to bring it
    to its pods, and programs reread when they do. A rotation waits so long before it relies on it.
    """


class Tokens(Model):
    """That the domain issues signed tokens, and how."""

    issuer: IssuerURL | None = None
    """The issuer's URL, as it stands in every token; that of its Service in Troth's namespace when
    left out."""
    key_lifetime: Annotated[Duration, duration_between("24h", "8760h")] = timedelta(hours=720)
    """How old the key that signs may become before the next one takes over."""


class Consent(StrEnum):
    """Whose word opens an edge."""

    MUTUAL = "Mutual"
    CALLEE = "Callee"


class Resolver(Model):
    """The cluster's DNS resolver, the only DNS that enrolled workloads may ask."""

    namespace: NamespaceName = "kube-system"
    """The resolver's namespace."""
    pod_selector: LabelSelector = LabelSelector(match_labels={"k8s-app": "kube-dns"})
    """The resolver's pods."""
    port: PortNumber = 53
    """The port on which the resolver's pods listen, over UDP and TCP."""


class MetricsCollector(Model):
    """The pods that scrape metrics."""

    namespace: NamespaceName
    """The collector's namespace."""
    pod_selector: LabelSelector
    """The collector's pods."""


class Probes(Model):
    """Where the kubelet's probes come from, for networks that do not let the node through."""

    cidrs: Annotated[tuple[CIDR, ...], Field(min_length=1, max_length=32), SET]
    """The nodes' networks."""


class Network(Model):
    """What every workload of the domain may reach or be reached by, beside its declared peers."""

    dns: Resolver = Resolver()
    """The cluster's resolver."""
    metrics: MetricsCollector | None = None
    """Who may reach the ports that identities list under exceptions.metrics."""
    probes: Probes | None = None
    """Who may reach the ports that identities list under exceptions.probes."""


class TrustDomainSpec(Model):
    """What a trust domain is."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!has(self.allowEnvironments) || !(self.environment in self.allowEnvironments)",
            message="leave the domain's own environment out of allowEnvironments; it is always "
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
    """The SPIFFE trust domain; immutable."""
    environment: Annotated[
        Environment, Immutable("environment cannot change; create a new TrustDomain instead")
    ]
    """The environment that all its namespaces belong to; immutable."""
    namespace_selector: LabelSelector
    """The namespaces it governs. A namespace that two domains select is governed by neither."""
    authority: Authority
    """Where its certificates come from."""
    certificates: Certificates = Certificates()
    """What holds for every leaf."""
    bundle: Bundle = Bundle()
    """Where the roots to trust are written."""
    tokens: Tokens | None = None
    """The signed tokens that the domain issues; none when left out."""
    consent: Consent = Consent.MUTUAL
    """Mutual: an edge opens when both sides declare it. Callee: when the callee accepts it."""
    allow_environments: Annotated[tuple[Environment, ...], Field(max_length=16), SET] = ()
    """Other environments whose identities may be peers of this domain's."""
    federates_with: Annotated[
        tuple[LocalReference, ...],
        Field(max_length=16),
        BY_NAME,
    ] = ()
    """The TrustDomains whose identities may be peers; takes effect when both name each other."""
    network: Network = Network()
    """What every workload may reach or be reached by, beside its declared peers."""


class TrustDomain(Resource):
    """A SPIFFE trust domain: its environment, its authority, and the namespaces it governs."""

    rules: ClassVar[tuple[Rule, ...]] = (
        NAME_RULE,
        Rule(
            cel=f"!has(self.spec.tokens) || self.metadata.name.matches('^{_SERVICE_NAME}$')",
            message="with tokens choose a name of at most 56 lower-case letters, digits and '-' "
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
