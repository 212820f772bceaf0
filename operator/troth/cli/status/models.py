"""Entries of a status report, read leniently: another version may have written the status."""

from collections import Counter
from collections.abc import Iterable
from typing import Self

from troth.cli.status.proofs import ProofSummary, proof_summary
from troth.resources.manifests import Manifest
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.messaging.message_broker import BrokerMode
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialPhase
from troth.resources.schema.model import Model
from troth.resources.schema.scalars import format_time, parse_moment
from troth.resources.trust_domain.status import RotationPhase
from troth.trust.edges.gateway_trust import trust_ends


class ExceptionSummary(Model):
    """A declared exception from authentication, with an owner and an end."""

    owner: str
    """Who is responsible for it."""
    until: str
    """The time at which it ends, in RFC 3339."""
    holds: bool
    """Whether it was in effect when last observed."""
    because: str = ""
    """Reason of its condition; empty if the condition does not exist yet."""


class Summary(Model):
    """State of one resource: its name and its Ready condition."""

    namespace: str | None = None
    name: str
    ready: str = "Unknown"
    """Status of the Ready condition: True, False or Unknown."""
    reason: str = "Unvisited"
    """Reason of the Ready condition."""
    message: str = ""
    """Message of the Ready condition, which says what to do."""
    excepted: ExceptionSummary | None = None
    """Its exception from authentication, if it declares one."""

    @classmethod
    def of(cls, manifest: Manifest, **more: object) -> Self:
        """Return the state of a resource; `more` has the fields of the subclass."""
        metadata = manifest["metadata"]
        conditions = status_of(manifest).get("conditions") or []
        ready: Manifest = next((each for each in conditions if each["type"] == "Ready"), {})
        known = {"ready": ready["status"], "reason": ready["reason"]} if ready else {}
        return cls(
            namespace=metadata.get("namespace"),
            name=metadata["name"],
            message=ready.get("message", ""),
            **known,
            **more,
        )

    @property
    def deserves_a_look(self) -> bool:
        """Whether it is not ready, or has an exception."""
        return self.ready != "True" or self.excepted is not None

    @property
    def place(self) -> str:
        """Namespace and name, or the name of a cluster-scoped resource."""
        return str(Ref(self.namespace or "", self.name))


class AuthoritySummary(Model):
    """One root or intermediate of a trust domain."""

    fingerprint: str
    state: str
    not_after: str
    renewed: bool
    """Whether Troth replaces it before it expires."""
    certificates: int | None = None
    """Number of identities with a certificate of it; None if not all are visible."""


class TokenKeySummary(Model):
    """One signing key of a trust domain's tokens."""

    fingerprint: str
    state: str


class DomainSummary(Summary):
    """State of a trust domain, with the rotations of its authority and of its token key."""

    phase: str
    blockers: tuple[str, ...]
    authorities: tuple[AuthoritySummary, ...]
    others: int | None = None
    """Number of identities with a certificate of an authority that is not listed."""
    token_keys: tuple[TokenKeySummary, ...] = ()
    """Empty if the domain issues no tokens."""
    token_phase: str = RotationPhase.IDLE.value
    token_blockers: tuple[str, ...] = ()


class RotationSummary(Summary):
    """State of a CredentialRotation."""

    target_kind: str
    target_name: str
    phase: str
    blockers: tuple[str, ...]
    requested_at: str | None = None
    compromised: str | None = None
    last_rotated: str | None = None
    next_rotation: str | None = None


class Entry(Model):
    """An edge, a grant or a resource, with its state and what to do."""

    what: str
    """A resource with its kind, an edge as `caller → callee:port`, or a grant."""
    reason: str
    message: str = ""


class EdgeSummary(Model):
    """Edges of one identity."""

    live: int
    """Number of live edges with other identities."""
    closed: tuple[Entry, ...] = ()
    """Edges that are not live."""
    unlisted: int = 0
    """Number of further edges, which neither its status nor a status that could be read lists."""


class CertificateSummary(Model):
    """The certificate of an identity."""

    fingerprint: str
    authority: str
    not_after: str
    renew_at: str


class IdentitySummary(Summary):
    """State of a ServiceIdentity."""

    spiffe_id: str | None = None
    certificate: CertificateSummary | None = None
    unverified: tuple[str, ...] = ()
    """The times at which its unverified peers are no longer accepted, in RFC 3339."""
    edges: EdgeSummary | None = None
    """Its edges, None unless the report is about `KIND/NAME`."""
    proofs: ProofSummary | None = None
    """Proofs of its edges, None if there are none."""

    @property
    def deserves_a_look(self) -> bool:
        """Whether it is not ready, has an exception, or is not as declared."""
        shown = self.ready != "True" or self.excepted is not None
        return shown or (self.proofs is not None and self.proofs.disproven > 0)


class BrokerSummary(Summary):
    """State of a MessageBroker. Counts are None until the operator has observed it."""

    type: str
    mode: str
    principals: int | None = None
    foreign_grants: int | None = None
    missing_grants: int | None = None
    surplus_grants: int | None = None
    braked_removals: int | None = None


class PolicySummary(Summary):
    """State of a TopicPolicy: its topic, and how many of its grants are in sync.

    Grants for redrives count only while they are needed.
    """

    broker: str
    topic: str
    """A prefix ends with `*`, which no topic name contains."""
    grants: int
    in_sync: int
    unvalidated: str = ""
    """Message of EdgesValidated, if clients are seen that do not name the guard for events."""

    @property
    def deserves_a_look(self) -> bool:
        """Whether it is not ready, or has such clients."""
        return super().deserves_a_look or bool(self.unvalidated)


def domain_summary(
    domain: Manifest, identities: Iterable[Manifest], *, complete: bool
) -> DomainSummary:
    """Return the state of a trust domain; `complete` says whether these are all identities."""
    status = status_of(domain)
    rotation, tokens = (status.get(part) or {} for part in ("rotation", "tokenRotation"))
    prefix = f"spiffe://{domain['spec']['domain']}/"
    signed = Counter(
        certificate["authority"]
        for identity in identities
        if (certificate := status_of(identity).get("certificate"))
        and status_of(identity).get("spiffeID", "").startswith(prefix)
    )
    listed = status.get("authorities") or []
    managed = "selfManaged" in (domain["spec"].get("authority") or {})
    mine = {each["fingerprint"] for each in listed}
    return DomainSummary.of(
        domain,
        phase=rotation.get("phase", RotationPhase.IDLE.value),
        blockers=rotation.get("blockers") or (),
        authorities=tuple(
            AuthoritySummary(
                fingerprint=each["fingerprint"],
                state=each["state"],
                not_after=each["notAfter"],
                renewed=managed,
                certificates=signed[each["fingerprint"]] if complete else None,
            )
            for each in listed
        ),
        others=sum(signed[each] for each in signed.keys() - mine) if complete else None,
        token_keys=tuple(
            TokenKeySummary(fingerprint=each["fingerprint"], state=each["state"])
            for each in status.get("tokenKeys") or []
        ),
        token_phase=tokens.get("phase", RotationPhase.IDLE.value),
        token_blockers=tokens.get("blockers") or (),
    )


def rotation_summary(rotation: Manifest) -> RotationSummary:
    """Return the state of a CredentialRotation."""
    spec, status = rotation["spec"], status_of(rotation)
    return RotationSummary.of(
        rotation,
        target_kind=spec["target"]["kind"],
        target_name=spec["target"]["name"],
        phase=status.get("phase", CredentialPhase.IDLE.value),
        blockers=status.get("blockers") or (),
        requested_at=spec.get("requestedAt"),
        compromised=spec.get("compromised"),
        last_rotated=status.get("lastRotated"),
        next_rotation=status.get("nextRotation"),
    )


def identity_summary(identity: Manifest) -> IdentitySummary:
    """Return the state of a ServiceIdentity."""
    status = status_of(identity)
    certificate = status.get("certificate")
    trust = (identity["spec"].get("authentication") or {}).get("gatewayOnly")
    peers = identity["spec"].get("accepts") or []
    ends = ((each.get("unverified") or {}).get("expiresAt") for each in peers)
    return IdentitySummary.of(
        identity,
        excepted=exception(
            identity, trust, "GatewayTrusted", since=status.get("gatewayTrustedSince")
        ),
        spiffe_id=status.get("spiffeID"),
        certificate=certificate
        and CertificateSummary(
            fingerprint=certificate["fingerprint"],
            authority=certificate["authority"],
            not_after=certificate["notAfter"],
            renew_at=certificate["renewAt"],
        ),
        unverified=tuple(end for end in ends if end),
        proofs=proof_summary(status),
    )


def broker_summary(broker: Manifest) -> BrokerSummary:
    """Return the state of a MessageBroker."""
    spec, status = broker["spec"], status_of(broker)
    return BrokerSummary.of(
        broker,
        type=next((each.value for each in BrokerType if each.value in spec), ""),
        mode=spec.get("mode", BrokerMode.ENFORCE.value),
        principals=status.get("principals"),
        foreign_grants=status.get("foreignGrants"),
        missing_grants=status.get("missingGrants"),
        surplus_grants=status.get("surplusGrants"),
        braked_removals=status.get("brakedRemovals"),
    )


def policy_summary(policy: Manifest) -> PolicySummary:
    """Return the state of a TopicPolicy."""
    spec, grants = policy["spec"], status_of(policy).get("grants") or []
    broker, topic = spec["brokerRef"], spec["topic"]
    namespace = broker.get("namespace") or policy["metadata"].get("namespace")
    return PolicySummary.of(
        policy,
        broker=f"{namespace}/{broker['name']}",
        topic=topic.get("name") or f"{topic.get('prefix', '')}*",
        grants=sum(each.get("state") != GrantState.INACTIVE.value for each in grants),
        in_sync=sum(each.get("state") == GrantState.IN_SYNC.value for each in grants),
        unvalidated=(unvalidated(policy) or {}).get("message", ""),
    )


def unvalidated(policy: Manifest) -> Manifest | None:
    """Return the condition of a policy with clients that do not name the guard, else None."""
    conditions = status_of(policy).get("conditions") or []
    found = (each for each in conditions if each["type"] == "EdgesValidated")
    return next((each for each in found if each["status"] == "False"), None)


def exception(
    resource: Manifest, declared: Manifest | None, condition: str, *, since: str | None = None
) -> ExceptionSummary | None:
    """Return the state of a declared exception, None if none is declared.

    `since` is when Troth first accepted gateway-only trust, which cannot be extended forever.
    """
    if declared is None:
        return None
    conditions = status_of(resource).get("conditions") or []
    judged: Manifest = next((each for each in conditions if each["type"] == condition), {})
    end = trust_ends(parse_moment(declared["expiresAt"]), parse_moment(since) if since else None)
    return ExceptionSummary(
        owner=declared.get("owner", ""),
        until=format_time(end),
        holds=judged.get("status") == "True",
        because=judged.get("reason", ""),
    )


def status_of(manifest: Manifest) -> Manifest:
    """Return the status of a resource, empty if it has none."""
    status: Manifest = manifest.get("status") or {}
    return status
