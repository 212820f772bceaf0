"""The workloads that still run with an older certificate, or without a new root.

This concerns programs that read their files once. A workload runs with the content that its Secret
had at the workload's last restart. Each restart records that content in the pod template, so it
survives a restart of the operator. See docs/decisions/0010-restarts-from-evidence.md.
"""

from collections.abc import Iterable, Iterator
from dataclasses import KW_ONLY, dataclass

from troth.documents.secret_keys import ROOTS
from troth.pki.certificates.authorities import Authority
from troth.pki.certificates.leaf import short
from troth.planning.certificates.anchors import bundle_text, fingerprints_in
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.trust_domain.spec import TrustDomain
from troth.trust.declarations.restarts import workloads
from troth.trust.selectors import matches
from troth.world.facts.objects import IdentitySecret, KnownAuthority, RestartRecord, Workload

ENABLE = "set the chart value rollouts.enabled to true"


@dataclass(frozen=True, slots=True)
class StaleContent:
    """The parts of its Secret that a workload runs without: the leaf, and these roots.

    `assumed` says that Troth never restarted the workload, so the lack is an assumption.
    """

    leaf: bool = False
    roots: frozenset[str] = frozenset()
    assumed: bool = False

    def __bool__(self) -> bool:
        return self.leaf or bool(self.roots)


@dataclass(frozen=True, slots=True)
class Restarting:
    """An identity of a domain that declares restarts and has a leaf, with its workloads.

    `authority` is the domain's. Without `may_restart` the workloads are unknown.
    """

    identity: ServiceIdentity
    secret: IdentitySecret
    domain: TrustDomain
    authority: KnownAuthority | None
    workloads: tuple[Workload, ...]
    _: KW_ONLY
    may_restart: bool

    def lack_of(self, workload: Workload) -> StaleContent:
        """Return the parts of its Secret that one of the workloads lacks."""
        return lack_of(workload, self.secret, self.domain, self.authority)


def evidence_of(secret: IdentitySecret) -> RestartRecord:
    """Return the evidence for a workload restarted now. The Secret must hold a leaf."""
    assert secret.leaf is not None
    return RestartRecord(short(secret.leaf.fingerprint), _short_in(secret.public.get(ROOTS, "")))


def lack_of(
    workload: Workload,
    secret: IdentitySecret,
    domain: TrustDomain,
    authority: KnownAuthority | None,
) -> StaleContent:
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
            roots -= _same_roots(read.roots, authority)
        return StaleContent(leaf=read.leaf != current.leaf, roots=roots)
    replaced = secret.replaced_at
    if replaced is None or workload.created - replaced >= domain.spec.bundle.propagation:
        return StaleContent()
    return StaleContent(leaf=True, roots=current.roots, assumed=True)


def restartable(identity: ServiceIdentity, found: Iterable[Workload]) -> Iterator[Workload]:
    """Yield the listed workloads that exist and whose pods the identity selects.

    `found` are the listed ones that exist.
    """
    selector = identity.spec.workload.pod_selector
    return (each for each in found if matches(selector, each.labels))


# Conditions for the replacement of a root


def waiting_for_root(root: Authority, restarting: Iterable[Restarting]) -> Iterator[str]:
    """Yield a sentence for each workload that may run without a root that it must trust.

    Workloads that Troth may not restart are included, because they would reject every peer once
    the root signs.
    """
    wanted = _short_of(root)
    for each in restarting:
        yield from _beyond_reach(each)
        for workload in each.workloads:
            if wanted & each.lack_of(workload).roots or not workload.replaced:
                yield f"{workload} has not been restarted with the new root yet"


def still_on_old_leaf(restarting: Iterable[Restarting]) -> Iterator[str]:
    """Yield a sentence for each workload that may run with an earlier leaf than its Secret's."""
    for each in restarting:
        yield from _beyond_reach(each)
        for workload in each.workloads:
            if each.lack_of(workload).leaf or not workload.replaced:
                yield f"{workload} has not been restarted with its new certificate yet"


def restarted_since(restarting: Iterable[Restarting]) -> Iterator[float]:
    """Yield since when (uptime) the evidence and replacement of each workload are known.

    The caller needs these times because a terminating pod keeps serving for a while after its
    workload no longer counts it.
    """
    for each in restarting:
        for workload in each.workloads:
            yield workload.since


def _short_in(bundle: str) -> frozenset[str]:
    return frozenset(map(short, fingerprints_in(bundle)))


def _short_of(root: Authority) -> frozenset[str]:
    """Return the fingerprints of all certificates of an authority's roots."""
    return _short_in(bundle_text(root.anchors)) | _short_in(bundle_text(root.confined))


def _same_roots(known: frozenset[str], authority: KnownAuthority | None) -> frozenset[str]:
    """Return the certificates of a domain's own roots of which a reader knows another one.

    A confined root of Troth's own has two. A given one has one, so the two sets are the same.
    """
    pairs = [
        _short_of(slot)
        for slot in (authority.slots if authority is not None else ())
        if len(slot.anchors) == len(slot.confined) == 1
    ]
    return frozenset().union(*(pair for pair in pairs if pair & known))


def _beyond_reach(each: Restarting) -> Iterator[str]:
    """Yield a sentence for each workload of an identity if Troth may not restart workloads."""
    if not each.may_restart:
        for kind, ref in workloads(each.identity):
            yield (
                f"{kind} {ref} cannot reload its files, and Troth is not allowed to restart it; "
                f"{ENABLE}"
            )
