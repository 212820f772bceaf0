"""Which workloads still run with an older certificate, or without a new root.

For programs that read their files once. What a workload runs with is what its Secret held when it
was last restarted, written into its pod template as it is restarted; so a restart of the operator
forgets nothing. See docs/decisions/0010-restarts-from-evidence.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from troth.documents.secret_keys import ROOTS
from troth.pki.authorities import Authority
from troth.pki.certificates import short
from troth.planning.certificates.anchors import bundle_text, roots_in, trusting
from troth.planning.moment import Moment
from troth.planning.owned_objects import is_child, secret_ref
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.registry import workloads
from troth.trust.selectors import matches
from troth.world.facts.objects import Evidence, IdentitySecret, Workload
from troth.world.world import World

ENABLE = "set the chart value rollouts.enabled to true"


@dataclass(frozen=True, slots=True)
class Lack:
    """What a workload runs without: its Secret's leaf, and these of the roots there.

    `assumed` is whether Troth never restarted it, so that it can only be supposed.
    """

    leaf: bool = False
    roots: frozenset[str] = frozenset()
    assumed: bool = False

    def __bool__(self) -> bool:
        return self.leaf or bool(self.roots)


def evidence_of(secret: IdentitySecret) -> Evidence:
    """Return what a workload runs with that is restarted now; the Secret must hold a leaf."""
    assert secret.leaf is not None
    roots = roots_in(secret.public.get(ROOTS, ""))
    return Evidence(short(secret.leaf.fingerprint), frozenset(map(short, roots)))


def lack_of(workload: Workload, secret: IdentitySecret, propagation: timedelta) -> Lack:
    """Return what a workload lacks of what its Secret holds; roots that went are no lack.

    One that Troth never restarted has read what is there, unless something was replaced since the
    workload was made, or so shortly before that a kubelet may not have seen it.
    """
    current, read = evidence_of(secret), workload.evidence
    if read is not None:
        return Lack(leaf=read.leaf != current.leaf, roots=current.roots - read.roots)
    replaced = secret.replaced_at
    if replaced is None or workload.created - replaced >= propagation:
        return Lack()
    return Lack(leaf=True, roots=current.roots, assumed=True)


def restartable(identity: ServiceIdentity, world: World) -> Iterator[Workload]:
    """Yield the workloads to restart that are there and whose pods are the identity's."""
    selector = identity.spec.workload.pod_selector
    for kind, ref in workloads(identity) if world.workloads.enabled else ():
        found = world.workloads.get(kind, ref)
        if found is not None and matches(selector, found.labels):
            yield found


# What the replacement of a root waits for


def waiting_for_root(
    root: Authority, domain: TrustDomain, world: World, moment: Moment
) -> Iterator[str]:
    """Yield, in sentences, which workloads may run without a root that they must verify.

    Where Troth may not restart them they are named too: once the root signs, they would refuse
    everybody.
    """
    wanted = frozenset(map(short, roots_in(bundle_text(root.anchors))))
    for each in trusting(root, domain, world):
        for identity, secret in _concerned(each, world, moment):
            yield from _beyond_reach(identity, world)
            for workload in restartable(identity, world):
                lack = lack_of(workload, secret, each.spec.bundle.propagation)
                if wanted & lack.roots or not workload.replaced:
                    yield f"{workload} has not been restarted with the new root yet"


def still_on_old_leaf(domain: TrustDomain, world: World, moment: Moment) -> Iterator[str]:
    """Yield, in sentences, which workloads may run with an earlier leaf than their Secret holds."""
    for identity, secret in _concerned(domain, world, moment):
        yield from _beyond_reach(identity, world)
        for workload in restartable(identity, world):
            lack = lack_of(workload, secret, domain.spec.bundle.propagation)
            if lack.leaf or not workload.replaced:
                yield f"{workload} has not been restarted with its new certificate yet"


def restarted_since(
    domains: Iterable[TrustDomain], world: World, moment: Moment
) -> Iterator[float]:
    """Yield since when (uptime) the workloads of domains run with what they run with.

    A pod that ends goes on serving for a while after it has left its workload's count.
    """
    for each in domains:
        for identity, _ in _concerned(each, world, moment):
            for workload in restartable(identity, world):
                yield workload.since


def _concerned(
    domain: TrustDomain, world: World, moment: Moment
) -> Iterator[tuple[ServiceIdentity, IdentitySecret]]:
    """Yield a domain's identities that have workloads restarted, and a certificate to run with."""
    for namespace in world.registry.governed_by(domain.metadata.name):
        if namespace in world.terminating:
            continue
        for ref in sorted(world.registry.restarting_in(namespace)):
            identity, secret = world.registry.identities[ref], world.secrets.get(secret_ref(ref))
            if secret is None or secret.leaf is None or not is_child(secret, identity):
                continue
            if moment.over_at(secret.leaf.not_after) > moment.now:
                yield identity, secret


def _beyond_reach(identity: ServiceIdentity, world: World) -> Iterator[str]:
    """Yield which workloads would have to be restarted, where Troth restarts nothing."""
    if not world.workloads.enabled:
        for kind, ref in workloads(identity):
            yield (
                f"{kind} {ref} cannot reload its files, and Troth is not allowed to restart it; "
                f"{ENABLE}"
            )
