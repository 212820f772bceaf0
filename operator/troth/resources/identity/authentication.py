"""How a workload proves itself: the patterns of `ServiceIdentity.spec.authentication`."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Reference
from troth.resources.schema.lists import SET
from troth.resources.schema.model import Model, exactly_one
from troth.resources.schema.rules import Rule
from troth.resources.schema.scalars import (
    Audience,
    DNSName,
    Duration,
    Moment,
    Sentence,
    duration_between,
)

GATEWAY_TRUST_LIMIT = timedelta(days=90)
"""How far ahead the end of gateway-only trust may lie."""


class Keystore(StrEnum):
    """A keystore format, for programs that do not read PEM."""

    PKCS12 = "PKCS12"


class Certificate(Model):
    """The X.509-SVID that the workload presents, as server and as client."""

    dns_names: Annotated[tuple[DNSName, ...], Field(max_length=16), SET] = ()
    """DNS names beside those of the workload's Services, each under a suffix that the TrustDomain
    allows."""
    key_algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256
    """The algorithm of the leaf's key."""
    lifetime: Annotated[Duration, duration_between("5m", "2160h")] | None = None
    """The leaf's lifetime, where it should be shorter than the TrustDomain's."""
    keystores: Annotated[tuple[Keystore, ...], Field(max_length=1), SET] = ()
    """Keystores to write beside the PEM files."""


class ProofOfPossession(StrEnum):
    """Whether a token must be bound to the certificate of whoever presents it."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"


class Token(Model):
    """Mutual TLS and, with each request, a signed token that says what the caller may do."""

    audience: Audience | None = None
    """Whom a token must be made for; the workload's SPIFFE ID when left out."""
    lifetime: Annotated[Duration, duration_between("10s", "15m")] = timedelta(minutes=5)
    """How long a token is good; what is taken back is refused that much later at most."""
    proof_of_possession: ProofOfPossession = ProofOfPossession.REQUIRED
    """Required: a token must be bound to the caller's certificate (RFC 8705). Optional: one that a
    caller got by its ServiceAccount is accepted too."""
    certificate: Certificate = Certificate()
    """The X.509-SVID in a Secret, beside the trust bundle."""


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
            "token",
            "gateway_only",
            message="choose exactly one way of authentication: mtls, token, or gatewayOnly with an "
            "end date",
        ),
    )

    mtls: Certificate | None = None
    """An X.509-SVID in a Secret, and the trust bundle."""
    token: Token | None = None
    """An X.509-SVID likewise and, with each request, a signed token with an audience and scopes.
    The TrustDomain must issue tokens."""
    gateway_only: GatewayOnly | None = None
    """Trust in a named gateway, for very simple topologies."""

    @property
    def certificate(self) -> Certificate | None:
        """The certificate that the workload presents, None for one that has none."""
        return self.token.certificate if self.token else self.mtls
