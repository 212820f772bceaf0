"""Authentication patterns of `ServiceIdentity.spec.authentication`."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

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
    Owner,
    Sentence,
    duration_between,
)

GATEWAY_TRUST_LIMIT = timedelta(days=90)
"""Maximum time until the end of gateway-only trust."""

GATEWAY_TRUST_CEILING = timedelta(days=180)
"""Maximum time for which the gateway-only trust of one identity name lasts, however it is
extended."""


class Keystore(StrEnum):
    """Keystore format for programs that do not read PEM."""

    PKCS12 = "PKCS12"


class Certificate(Model):
    """X.509-SVID that the workload presents, as server and as client."""

    dns_names: Annotated[tuple[DNSName, ...], Field(max_length=16), SET] = ()
    """DNS names in addition to those of the workload's Services. Each must be under a suffix that
    the TrustDomain gives to this namespace. A name belongs to the identity that claimed it
    first."""
    key_algorithm: KeyAlgorithm = KeyAlgorithm.ECDSA_P256
    """Algorithm of the leaf's key. Default ECDSA-P256."""
    lifetime: Annotated[Duration, duration_between("5m", "2160h")] | None = None
    """Lifetime of the leaf, if it should be shorter than the TrustDomain's."""
    keystores: Annotated[tuple[Keystore, ...], Field(max_length=1), SET] = ()
    """Keystores to write in addition to the PEM files. Their roots are those of the identity's own
    trust domain, because Java does not confine the roots of others."""


class ProofOfPossession(StrEnum):
    """Whether a token must be bound to the certificate of its presenter."""

    REQUIRED = "Required"
    OPTIONAL = "Optional"


class Token(Model):
    """Mutual TLS and, with each request, a signed token with the scopes of the caller."""

    audience: Audience | None = None
    """Required aud claim of tokens. Defaults to the workload's SPIFFE ID. An audience belongs to
    the identity that claimed it first."""
    lifetime: Annotated[Duration, duration_between("10s", "15m")] = timedelta(minutes=5)
    """Token lifetime. Default 5m. A revoked scope stays usable for at most this long."""
    proof_of_possession: ProofOfPossession = ProofOfPossession.REQUIRED
    """Binding of tokens. Required (default): a token must be bound to the caller's certificate (RFC
    8705). Optional: a token that the caller got with its ServiceAccount is accepted too."""
    certificate: Certificate = Certificate()
    """X.509-SVID in a Secret, with the trust bundle."""


class GatewayOnly(Model):
    """Trust in a gateway until a date, for very simple topologies."""

    gateway: Reference
    """ServiceIdentity of the gateway, the only one that may be accepted."""
    reason: Sentence
    """Reason why nothing stronger is possible yet."""
    owner: Owner
    """Person or team that is responsible for this trust."""
    expires_at: Moment
    """Time at which the trust ends, at most 90 days ahead. From then on, nobody is accepted. It can
    be extended to 180 days after Troth first accepted it, and not longer under this name."""

    @property
    def counts_from(self) -> datetime:
        """Time from which the end is near enough to be accepted."""
        return self.expires_at - GATEWAY_TRUST_LIMIT


class Authentication(Model):
    """Authentication of the workload. Set exactly one field."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "mtls",
            "token",
            "gateway_only",
            message="set exactly one of mtls, token and gatewayOnly (with an end date)",
        ),
    )

    mtls: Certificate | None = None
    """X.509-SVID in a Secret, with the trust bundle."""
    token: Token | None = None
    """X.509-SVID in a Secret, with the trust bundle, and a signed token with an audience and scopes
    in each request. The TrustDomain must issue tokens."""
    gateway_only: GatewayOnly | None = None
    """Trust in a named gateway until a date, for very simple topologies."""

    @property
    def certificate(self) -> Certificate | None:
        """Certificate that the workload presents, None if it has none."""
        return self.token.certificate if self.token else self.mtls
