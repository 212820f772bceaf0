"""The workloads that still run with an older certificate, or without a new root.

This concerns programs that read their files once. A workload runs with the content that its Secret
had at the workload's last restart. Each restart records that content in the pod template, so it
survives a restart of the operator. See docs/decisions/0010-restarts-from-evidence.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from troth.documents.secret_keys import ROOTS
from troth.pki.certificates.authorities import Authority
from troth.pki.certificates.leaf import short
from troth.planning.certificates.anchors import bundle_text, fingerprints_in, trusting
from troth.planning.moment import Moment
from troth.planning.owned_objects import is_child, secret_ref
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.restarts import workloads
from troth.trust.selectors import matches
from troth.world.facts.objects import Evidence, IdentitySecret, Workload
from troth.world.world import World

ENABLE = "set the chart value rollouts.enabled to true"


@dataclass(frozen=True, slots=True)
class Lack:
    """The parts of its Secret that a workload runs without: the leaf, and these roots.

    `assumed` says that Troth never restarted the workload, so the lack is an assumption.
    """

    leaf: bool = False
    roots: frozenset[str] = frozenset()
    assumed: bool = False

    def __bool__(self) -> bool:
        return self.leaf or bool(self.roots)


def evidence_of(secret: IdentitySecret) -> Evidence:
    """Return the evidence for a workload restarted now. The Secret must hold a leaf."""
    assert secret.leaf is not None
    return Evidence(short(secret.leaf.fingerprint), _short_in(secret.public.get(ROOTS, "")))


def lack_of(workload: Workload, secret: IdentitySecret, domain: TrustDomain, world: World) -> Lack:
    """Return the parts of its Secret that a workload lacks. A removed root is no lack.

    Nor is the plain certificate of a root of which the workload has read the confined one, because
    it accepts the same leaves. A workload that Troth never restarted lacks nothing, unless the
    Secret's content was replaced after the workload was created, or less than the propagation delay
    before.
    """
    current, read = evidence_of(secret), workload.evidence
    if read is not None:
        roots = current.roots - read.roots
        if roots:
            roots -= _same_roots(read.roots, domain, world)
        return Lack(leaf=read.leaf != current.leaf, roots=roots)
    replaced = secret.replaced_at
    if replaced is None or workload.created - replaced >= domain.spec.bundle.propagation:
        return Lack()
    return Lack(leaf=True, roots=current.roots, assumed=True)


def restartable(identity: ServiceIdentity, world: World) -> Iterator[Workload]:
    """Yield the listed workloads that exist and whose pods the identity selects."""
    selector = identity.spec.workload.pod_selector
    for kind, ref in workloads(identity) if world.workloads.enabled else ():
        found = world.workloads.get(kind, ref)
        if found is not None and matches(selector, found.labels):
            yield found


# Conditions for the replacement of a root


def waiting_for_root(
    root: Authority, domain: TrustDomain, world: World, moment: Moment
) -> Iterator[str]:
    """Yield a sentence for each workload that may run without a root that it must trust.

    Workloads that Troth may not restart are included, because they would reject every peer once
    the root signs.
    """
    wanted = _short_of(root)
    for each in trusting(root, domain, world):
        for identity, secret in _concerned(each, world, moment):
            yield from _beyond_reach(identity, world)
            for workload in restartable(identity, world):
                lack = lack_of(workload, secret, each, world)
                if wanted & lack.roots or not workload.replaced:
                    yield f"{workload} has not been restarted with the new root yet"


def still_on_old_leaf(domain: TrustDomain, world: World, moment: Moment) -> Iterator[str]:
    """Yield a sentence for each workload that may run with an earlier leaf than its Secret's."""
    for identity, secret in _concerned(domain, world, moment):
        yield from _beyond_reach(identity, world)
        for workload in restartable(identity, world):
            lack = lack_of(workload, secret, domain, world)
            if lack.leaf or not workload.replaced:
                yield f"{workload} has not been restarted with its new certificate yet"


def restarted_since(
    domains: Iterable[TrustDomain], world: World, moment: Moment
) -> Iterator[float]:
    """Yield since when (uptime) the evidence and replacement of each workload are known.

    The caller needs these times because a terminating pod keeps serving for a while after its
    workload no longer counts it.
    """
    for each in domains:
        for identity, _ in _concerned(each, world, moment):
            for workload in restartable(identity, world):
                yield workload.since


def _concerned(
    domain: TrustDomain, world: World, moment: Moment
) -> Iterator[tuple[ServiceIdentity, IdentitySecret]]:
    """Yield a domain's identities that declare restarts and have an unexpired leaf."""
    for namespace in world.registry.governed_by(domain.metadata.name):
        if namespace in world.terminating:
            continue
        for ref in sorted(world.registry.restarting_in(namespace)):
            identity, secret = world.registry.identities[ref], world.secrets.get(secret_ref(ref))
            if secret is None or secret.leaf is None or not is_child(secret, identity):
                continue
            if moment.over_at(secret.leaf.not_after) > moment.now:
                yield identity, secret


def _short_in(bundle: str) -> frozenset[str]:
    return frozenset(map(short, fingerprints_in(bundle)))


def _short_of(root: Authority) -> frozenset[str]:
    """Return the fingerprints of all certificates of an authority's roots."""
    return _short_in(bundle_text(root.anchors)) | _short_in(bundle_text(root.confined))


def _same_roots(known: frozenset[str], domain: TrustDomain, world: World) -> frozenset[str]:
    """Return the certificates of a domain's own roots of which a reader knows another one.

    A confined root of Troth's own has two. A given one has one, so the two sets are the same.
    """
    authority = world.authorities.of(domain)
    pairs = [
        _short_of(slot)
        for slot in (authority.slots if authority is not None else ())
        if len(slot.anchors) == len(slot.confined) == 1
    ]
    return frozenset().union(*(pair for pair in pairs if pair & known))


def _beyond_reach(identity: ServiceIdentity, world: World) -> Iterator[str]:
    """Yield a sentence for each workload of an identity if Troth may not restart workloads."""
    if not world.workloads.enabled:
        for kind, ref in workloads(identity):
            yield (
                f"{kind} {ref} cannot reload its files, and Troth is not allowed to restart it; "
                f"{ENABLE}"
            )
