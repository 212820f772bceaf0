"""Peers of a `ServiceIdentity`: the callers it accepts and the destinations it calls."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from troth.resources.references import SharedReference
from troth.resources.schema.lists import SET
from troth.resources.schema.model import Model, exactly_one
from troth.resources.schema.rules import Rule
from troth.resources.schema.scalars import (
    CIDR,
    DNSName,
    Flag,
    Moment,
    PortName,
    PortNumber,
    Scope,
    Sentence,
)
from troth.resources.selectors import LabelSelector

UNVERIFIED_LIMIT = timedelta(days=365)
"""Maximum time until the end of a peer without an identity."""


class Unverified(Model):
    """Peer without an identity.

    Troth opens the network to it, counts and reports it, and grants it no scopes.
    """

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.cidrs) != (has(self.namespaceSelector) || has(self.podSelector))",
            message="set either cidrs or selectors: namespaceSelector, podSelector or both",
            holds=lambda it: (
                (it.cidrs is not None)
                != (it.namespace_selector is not None or it.pod_selector is not None)
            ),
        ),
    )

    namespace_selector: LabelSelector | None = None
    """Namespaces of the peer. Defaults to this namespace if only podSelector is set."""
    pod_selector: LabelSelector | None = None
    """Pods of the peer. Defaults to all pods of the namespaces. The workload's own pods have an
    identity and are never included."""
    cidrs: Annotated[tuple[CIDR, ...], Field(min_length=1, max_length=32), SET] | None = None
    """Networks of a peer outside the cluster, as CIDRs."""
    reason: Sentence
    """Reason to accept a peer without an identity."""
    expires_at: Moment | None = None
    """Time at which the network closes to the peer, at most 365 days ahead. Without it, the peer is
    accepted without an end, and the condition PeersVerified says so."""

    def is_open(self, now: datetime) -> bool:
        """Return whether the network is open to the peer."""
        return self.fault(now) is None

    def fault(self, now: datetime) -> str | None:
        """Return the reason why the network is closed to the peer, None if it is open."""
        if self.expires_at is None:
            return None
        if self.expires_at <= now:
            return "UnverifiedExpired"
        return "UnverifiedTooLong" if now < self.expires_at - UNVERIFIED_LIMIT else None


class Forwarded(StrEnum):
    """Information that a gateway may forward about its callers."""

    CLIENT_CERTIFICATE = "ClientCertificate"


class Accepts(Model):
    """Peer that may call the workload."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "from_",
            "unverified",
            message="set exactly one of from (a ServiceIdentity) and unverified",
        ),
        Rule(
            cel="!has(self.unverified) || !has(self.scopes) || size(self.scopes) == 0",
            message="remove scopes; a peer without an identity never has any",
            holds=lambda it: it.unverified is None or not it.scopes,
        ),
        Rule(
            cel="!has(self.unverified) || !has(self.forwards) || size(self.forwards) == 0",
            message="remove forwards; an unverified peer is never trusted to name its callers",
            holds=lambda it: it.unverified is None or not it.forwards,
        ),
    )

    from_: SharedReference | None = None
    """ServiceIdentity of the caller."""
    unverified: Unverified | None = None
    """Caller without an identity."""
    ports: Annotated[tuple[PortName, ...], Field(min_length=1, max_length=16), SET]
    """Names of the workload's ports that the peer may call."""
    scopes: Annotated[tuple[Scope, ...], Field(max_length=32), SET] = ()
    """Scopes that the peer has on these ports. The service enforces them from identity.json."""
    forwards: Annotated[tuple[Forwarded, ...], Field(max_length=1), SET] = ()
    """Information that the peer, as a gateway, may forward on these ports about its own callers.
    ClientCertificate: the caller, in the header X-Forwarded-Client-Cert."""


class External(Model):
    """Destination outside the cluster."""

    host: DNSName
    """DNS name of the destination, for readers and for TLS. The NetworkPolicy uses only cidrs."""
    cidrs: Annotated[tuple[CIDR, ...], Field(min_length=1, max_length=32), SET]
    """Networks of the destination, as CIDRs."""
    ports: Annotated[tuple[PortNumber, ...], Field(min_length=1, max_length=16), SET]
    """TCP ports of the destination."""


class Calls(Model):
    """Destination that the workload calls."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "to",
            "external",
            "kubernetes_api",
            message="set exactly one of to (a ServiceIdentity), external and kubernetesAPI",
        ),
        Rule(
            cel="has(self.to) == (self.?ports.orValue([]).size() > 0)",
            message="set ports, the names of the callee's ports, if and only if to is set",
            holds=lambda it: (it.to is not None) == bool(it.ports),
        ),
        Rule(
            cel="!has(self.scopes) || has(self.to) || size(self.scopes) == 0",
            message="remove scopes; only calls with to have them",
            holds=lambda it: it.to is not None or not it.scopes,
        ),
    )

    to: SharedReference | None = None
    """ServiceIdentity of the callee."""
    ports: Annotated[tuple[PortName, ...], Field(max_length=16), SET] = ()
    """Names of the callee's ports."""
    scopes: Annotated[tuple[Scope, ...], Field(max_length=32), SET] = ()
    """Scopes that tokens for the callee request, if the callee uses tokens. A token has only those
    that the callee's accepts grants too."""
    external: External | None = None
    """Destination outside the cluster."""
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
    """Whether the workload calls the cluster's API server. Troth looks up its endpoints."""
