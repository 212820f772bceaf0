"""The plan of a `TrustDomain`: its authority, its bundles, its status."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from troth.pki.certificates import short
from troth.planning import status as verdicts
from troth.planning.anchors import bundle_text, confined, federated, trusted_anchors
from troth.planning.children import FOREIGN_RETRY, differs, is_child, metadata_of
from troth.planning.plan import Apply, CreateRoot, Plan, Remove, Step
from troth.planning.rotation import BLOCKERS, Rotation, next_step, renewal_of
from troth.resources.conditions import Verdict
from troth.resources.references import Ref
from troth.resources.trust_domain import (
    AuthorityState,
    AuthorityStatus,
    RotationPhase,
    RotationStatus,
    TrustDomain,
    TrustDomainStatus,
)
from troth.world.facts import Content, KnownAuthority, Manifest
from troth.world.keys import Key
from troth.world.observe import ROOTS
from troth.world.world import World, authority_ref

ON_ITS_WAY = frozenset({"CreatingRoot", "Distributing", "WriteRefused"})
"""Reasons that pass without a person doing anything."""


def plan_trust_domain(key: Key, world: World, now: datetime) -> Plan:
    """Return what a trust domain asks of the world.

    Of one that is gone the bundles are removed; its authority's Secret stays, for a key that is
    deleted cannot be had back.
    """
    manifest = world.unreadable.get(key)
    if manifest is not None:
        sentence = world.registry.invalid_domains[key.ref.name]
        return Plan(
            key,
            manifest["metadata"]["uid"],
            status=verdicts.unreadable_status(manifest, sentence, now),
            previous_status=manifest.get("status") or {},
        )
    domain = world.registry.domains.get(key.ref.name)
    if domain is None or domain.metadata.deletion_timestamp:
        return Plan(key, "", steps=tuple(_removals(world.bundles_of(key.ref.name))))
    authority = _plan_authority(domain, world, now)
    bundles = _plan_bundles(domain, world, now)
    judged = (authority.verdict, bundles.verdict)
    rotation = _plan_rotation(domain, world, now)
    summary = verdicts.summed_up(judged, ON_ITS_WAY)
    return Plan(
        key,
        domain.metadata.uid,
        steps=(*authority.steps, *((rotation.step,) if rotation.step else ()), *bundles.steps),
        status=_status(domain, world, rotation, (*summary, *judged), now),
        previous_status=domain.status.manifest(),
        due=min((due for due in _dues(domain, world, rotation, now) if due > now), default=None),
    )


@dataclass(frozen=True, slots=True)
class _Part:
    verdict: Verdict
    steps: tuple[Step, ...] = ()


# The authority


def _plan_authority(domain: TrustDomain, world: World, now: datetime) -> _Part:
    type_ = "AuthorityReady"
    known, ref = world.authority(domain), authority_ref(domain, world.own_namespace)
    if domain.spec.authority.secret_ref is not None:
        if known is None:
            message = f"create the Secret {ref} with tls.crt, tls.key and, for its root, ca.crt"
            return _Part(verdicts.false(type_, "SecretMissing", message))
        return _judged(known, now)
    if known is None:
        return _new_root(domain, world, ref, now)
    if not is_child(known.secret, domain):
        message = f"a Secret {ref} exists that is not Troth's; rename or delete it"
        return _Part(verdicts.false(type_, "Conflict", message))
    return _judged(known, now)


def _new_root(domain: TrustDomain, world: World, ref: Ref, now: datetime) -> _Part:
    type_, name = "AuthorityReady", domain.metadata.name
    # A root that once was is never replaced unasked: every leaf out there chains to it.
    if domain.status.authorities or world.bundles_of(name):
        message = (
            f"the Secret {ref} with the root's key is gone; restore it from a backup. To begin "
            "with a new root instead, delete this TrustDomain, wait until its bundles are gone, "
            "and create it again"
        )
        return _Part(verdicts.false(type_, "AuthorityMissing", message))
    seen = world.foreign.get(("Secret", ref))
    if seen is not None and now < seen + FOREIGN_RETRY:
        message = f"a Secret {ref} exists that is not Troth's; rename or delete it"
        return _Part(verdicts.false(type_, "Conflict", message))
    settings = domain.spec.authority.self_managed
    assert settings is not None
    step = CreateRoot(
        manifest={
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "kubernetes.io/tls",
            "metadata": metadata_of(ref, domain),
        },
        trust_domain=domain.spec.domain,
        algorithm=settings.key_algorithm,
        lifetime=settings.lifetime,
        confined=settings.confined,
    )
    refused = world.refused.get(("Secret", ref))
    if refused:
        return _Part(verdicts.false(type_, "WriteRefused", refused), (step,))
    return _Part(verdicts.false(type_, "CreatingRoot", "a root is being made"), (step,))


def _judged(known: KnownAuthority, now: datetime) -> _Part:
    type_ = "AuthorityReady"
    if known.authority is None:
        assert known.fault is not None
        message = f"Secret {known.secret.ref}: {known.fault.message}"
        return _Part(verdicts.false(type_, known.fault.reason, message))
    if now < known.authority.not_before:
        return _Part(verdicts.false(type_, "AuthorityNotYetValid", "the authority begins later"))
    if now >= known.authority.not_after:
        message = "the authority has expired and issues nothing; replace it"
        return _Part(verdicts.false(type_, "AuthorityExpired", message))
    return _Part(verdicts.true(type_, "Active", "the authority signs"))


def _plan_rotation(domain: TrustDomain, world: World, now: datetime) -> Rotation:
    known = world.authority(domain)
    usable = known is not None and known.authority is not None and is_child(known.secret, domain)
    if not usable or domain.spec.authority.self_managed is None or known is None:
        return Rotation(RotationPhase.IDLE)
    return next_step(domain, known, world, now)


# The bundles


def _plan_bundles(domain: TrustDomain, world: World, now: datetime) -> _Part:
    type_, name = "BundleDistributed", domain.metadata.name
    anchors = trusted_anchors(domain, world)
    if not anchors:
        message = "no bundle is written or changed while the authority cannot be used"
        return _Part(verdicts.false(type_, "AuthorityNotReady", message))
    wanted = {
        Ref(namespace, domain.spec.bundle.config_map_name): namespace
        for namespace in world.registry.governed_by(name)
        if namespace not in world.terminating
    }
    data = {ROOTS: bundle_text(anchors)}
    steps: list[Step] = []
    foreign: list[Ref] = []
    missing = False
    for ref in wanted:
        manifest = _config_map(ref, domain, data)
        fact = world.bundles.get(ref)
        seen = world.foreign.get(("ConfigMap", ref))
        if (fact is not None and not is_child(fact, domain)) or (
            seen is not None and now < seen + FOREIGN_RETRY
        ):
            foreign.append(ref)
            continue
        missing = missing or fact is None or differs(manifest, fact)
        steps.append(Apply(manifest))
    steps += _removals(_left_behind(domain, world, set(wanted)))
    return _Part(_bundle_verdict(domain, world, foreign, missing=missing), tuple(steps))


def _bundle_verdict(
    domain: TrustDomain, world: World, foreign: list[Ref], *, missing: bool
) -> Verdict:
    type_ = "BundleDistributed"
    for namespace in world.registry.claimed_by(domain):
        governance = world.registry.governance(namespace)
        if governance.reason == "NamespaceOverlap":
            return verdicts.false(type_, governance.reason, governance.message)
    if foreign:
        message = (
            f"a ConfigMap {foreign[0]} exists that is not Troth's and is never overwritten; rename "
            "or delete it, or choose another bundle.configMapName"
        )
        return verdicts.false(type_, "Conflict", message)
    for other in federated(domain, world):
        known = world.authority(other)
        if known and known.authority and not confined(other, world):
            message = (
                f"the root of TrustDomain {other.metadata.name} is not confined to its own trust "
                "domain by name constraints and is therefore not trusted here; constrain it to "
                f"the URI host {other.spec.domain}"
            )
            return verdicts.false(type_, "FederatedRootUnconfined", message)
    refused = _first_refused(domain, world)
    if refused:
        return verdicts.false(type_, "WriteRefused", refused)
    if missing:
        return verdicts.false(type_, "Distributing", "the bundle is being written")
    return verdicts.true(type_, "Distributed", "every governed namespace has the bundle")


def _first_refused(domain: TrustDomain, world: World) -> str:
    name = domain.spec.bundle.config_map_name
    for namespace in world.registry.governed_by(domain.metadata.name):
        refused = world.refused.get(("ConfigMap", Ref(namespace, name)))
        if refused:
            return refused
    return ""


def _left_behind(domain: TrustDomain, world: World, wanted: set[Ref]) -> Iterator[Content]:
    """Yield bundles where they no longer belong; where that cannot be told they stay."""
    for fact in world.bundles_of(domain.metadata.name):
        namespace = fact.ref.namespace
        settled = world.registry.governance(namespace).settled
        if fact.ref not in wanted and settled and namespace not in world.terminating:
            yield fact


def _config_map(ref: Ref, domain: TrustDomain, data: dict[str, str]) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata_of(ref, domain),
        "data": data,
    }


def _removals(facts: Iterator[Content] | list[Content]) -> Iterator[Step]:
    for fact in facts:
        yield Remove("ConfigMap", fact.ref, fact.uid)


# The status


def _status(
    domain: TrustDomain,
    world: World,
    rotation: Rotation,
    judged: tuple[Verdict, ...],
    now: datetime,
) -> dict[str, object]:
    known = world.authority(domain)
    if known is not None and known.authority is not None:
        authorities = tuple(_authorities(known))
    else:  # the memory of what was lost
        authorities = domain.status.authorities
    status = TrustDomainStatus(
        observed_generation=domain.metadata.generation,
        authorities=authorities,
        rotation=RotationStatus(phase=rotation.phase, blockers=rotation.blockers[:BLOCKERS]),
    ).manifest()
    status["conditions"] = verdicts.conditions(domain, domain.status.conditions, judged, now)
    return status


def _authorities(known: KnownAuthority) -> Iterator[AuthorityStatus]:
    for slot, state in (
        (known.authority, AuthorityState.ACTIVE),
        (known.prepared, AuthorityState.PREPARED),
        (known.retiring, AuthorityState.RETIRING),
    ):
        if slot is not None:
            yield AuthorityStatus(
                fingerprint=short(slot.fingerprint), state=state, not_after=slot.not_after
            )


def _dues(
    domain: TrustDomain, world: World, rotation: Rotation, now: datetime
) -> Iterator[datetime]:
    known = world.authority(domain)
    if known is not None and known.authority is not None:
        yield known.authority.not_before
        yield known.authority.not_after
        if domain.spec.authority.self_managed is not None:
            yield renewal_of(known.authority)
    if rotation.wait is not None:
        yield now + rotation.wait
    if rotation.phase is RotationPhase.REISSUING:  # a leaf that is not replaced runs out in time
        yield now + domain.spec.bundle.propagation
    for (kind, ref), seen in world.foreign.items():
        if kind == "ConfigMap" or ref == authority_ref(domain, world.own_namespace):
            yield seen + FOREIGN_RETRY
