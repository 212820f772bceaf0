"""The peers of a `ServiceIdentity`: whom it accepts, and whom it calls."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from troth.resources.references import Reference
from troth.resources.schema.lists import SET
from troth.resources.schema.model import Model, exactly_one
from troth.resources.schema.rules import Rule
from troth.resources.schema.scalars import (
    CIDR,
    DNSName,
    Flag,
    PortName,
    PortNumber,
    Scope,
    Sentence,
)
from troth.resources.selectors import LabelSelector


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


class Forwarded(StrEnum):
    """What a gateway may say of those who called it."""

    CLIENT_CERTIFICATE = "ClientCertificate"


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
        Rule(
            cel="!has(self.unverified) || !has(self.forwards) || size(self.forwards) == 0",
            message="leave forwards out; what a peer without an identity says of others is never "
            "believed",
            holds=lambda it: it.unverified is None or not it.forwards,
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
    forwards: Annotated[tuple[Forwarded, ...], Field(max_length=1), SET] = ()
    """What it may say there of its own callers, being a gateway. ClientCertificate: by the header
    X-Forwarded-Client-Cert, who called it."""


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
        Rule(
            cel="has(self.to) || !has(self.scopes) || size(self.scopes) == 0",
            message="ask for scopes beside to, and nowhere else",
            holds=lambda it: it.to is not None or not it.scopes,
        ),
    )

    to: Reference | None = None
    """The callee's ServiceIdentity."""
    ports: Annotated[tuple[PortName, ...], Field(max_length=16), SET] = ()
    """The names of the callee's ports."""
    scopes: Annotated[tuple[Scope, ...], Field(max_length=32), SET] = ()
    """What a token for the callee shall permit, where the callee takes tokens: of what it accepts,
    this and no more."""
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
