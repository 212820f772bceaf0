"""Finds what is wrong with manifests: their faults, and what the operator would report of them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from troth.cli.evaluation.basis import Basis, is_declared
from troth.cli.evaluation.exceptions import ending, without_effect
from troth.cli.evaluation.finding import (
    Finding,
    Merged,
    Report,
    Severity,
    finding_of,
    in_order,
    is_unreadable,
)
from troth.cli.evaluation.places import edge_steps, grant_steps
from troth.cli.evaluation.rehearse import Rehearsed
from troth.cli.evaluation.reviews import REVIEW, obstacle
from troth.cli.evaluation.schemas import incompatible, schema_places
from troth.cli.grants.report import GIVEN, Granted, everything_granted
from troth.planning.reasons.origins import ORIGINS, Origin
from troth.resources.faults import Step, path
from troth.resources.findings.exception import FINDING_EXCEPTION
from troth.resources.identity.status import EdgeState
from troth.resources.kinds import EVERY_KIND_BY_NAME, KIND_BY_NAME
from troth.resources.manifests import Manifest
from troth.resources.messaging.topic_policy_status import GrantState
from troth.resources.references import Ref
from troth.trust.declarations.watched import NOT_WATCHED, not_watched
from troth.world.facts.objects import Fault

IDENTITY, POLICY = "ServiceIdentity", "TopicPolicy"

SHARED, NO_NAMESPACE = "SharedIdentity", "NamespaceMissing"
_ELSEWHERE = frozenset({SHARED, NO_NAMESPACE})
"""Reasons of conditions that are findings by another way."""
_CONDITIONS: dict[str, tuple[Step, ...]] = {
    "GatewayTrusted": ("spec", "authentication", "gatewayOnly"),
    "TokensAccepted": ("spec", "authentication", "token"),
    "UnsignedAccepted": ("spec", "inbound", "acceptUnsigned"),
    "Ready": (),
}
"""Conditions that are an error if they are False, and the field that each is about."""


def report_without_evaluation(basis: Basis) -> Report:
    """Return the faults of the manifests alone."""
    faults = basis.manifests.faults
    return _report(basis, map(finding_of, faults), unreadable=is_unreadable(faults))


def evaluate(rehearsed: Rehearsed) -> Report:
    """Return everything that is wrong with the manifests of a rehearsal.

    Of objects that are not among the manifests, only what the manifests break is reported.
    """
    basis, merged = rehearsed.basis, Merged()
    faults = [*basis.manifests.faults, *rehearsed.update_faults]
    evaluation = _Evaluation(rehearsed, faulty=bool(faults))
    for finding in evaluation.findings():
        merged.add(finding)
    return _report(
        basis,
        [*map(finding_of, faults), *merged.findings()],
        live_edges=sum(each.state is EdgeState.LIVE for each in rehearsed.edges),
        live_grants=sum(each.state in GIVEN for each in evaluation.grants),
    )


def _report(
    basis: Basis,
    findings: Iterable[Finding],
    *,
    live_edges: int = 0,
    live_grants: int = 0,
    unreadable: bool = False,
) -> Report:
    return Report(
        in_order(findings),
        files=basis.manifests.files,
        resources=sum(map(is_declared, basis.manifests.objects)),
        live_edges=live_edges,
        live_grants=live_grants,
        unreadable=unreadable,
    )


@dataclass(slots=True)
class _Evaluation:
    """Findings about one rehearsal."""

    rehearsed: Rehearsed
    faulty: bool
    """Whether a manifest is invalid. Then what others report because of it is no finding."""
    grants: tuple[Granted, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.grants = tuple(everything_granted(self.rehearsed.after))

    def findings(self) -> Iterator[Finding]:
        """Yield all findings, some more than once: first those about what has to change itself."""
        yield from self._namespaces()
        yield from self._shared()
        for place, manifest in self.rehearsed.objects.items():
            if place[0] in KIND_BY_NAME:
                yield from self._conditions(place, manifest)
        yield from self._exceptions()
        yield from self._finding_exceptions()
        yield from self._reviews()
        yield from self._schemas()
        yield from self._edges()
        yield from self._grants()

    def _is_ours(self, kind: str, ref: Ref) -> bool:
        return (kind, ref) in self.rehearsed.basis.manifests.documents

    def _finding(  # noqa: PLR0917 - a record
        self,
        severity: Severity,
        reason: str,
        message: str,
        kind: str,
        ref: Ref,
        steps: tuple[Step, ...] = (),
    ) -> Finding:
        found = self.rehearsed.basis.manifests.find(kind, ref, steps)
        file, line = found or ("", 0)
        return Finding(
            severity,
            reason,
            message,
            kind=kind,
            namespace=ref.namespace,
            name=ref.name,
            field=path(steps),
            file=file,
            line=line,
        )

    def _namespaces(self) -> Iterator[Finding]:
        """Yield namespaces that manifests do not name, that do not exist, or that Troth does not
        watch.
        """
        basis = self.rehearsed.basis
        for kind, ref in basis.manifests.without_namespace:
            if kind in EVERY_KIND_BY_NAME:
                message = (
                    "required; add it, or name with --namespace the namespace to which the "
                    "manifests are applied"
                )
                yield self._finding(
                    Severity.ERROR, "NamespaceUnset", message, kind, ref, ("metadata", "namespace")
                )
        told: set[str] = set()
        for kind, ref in basis.manifests.documents:
            here = ref.namespace
            if kind not in EVERY_KIND_BY_NAME or not here or here in told:
                continue
            fault = self._fault_of_namespace(kind, here)
            if fault is not None:
                told.add(here)
                steps = ("metadata", "namespace")
                yield self._finding(Severity.ERROR, fault.reason, fault.message, kind, ref, steps)

    def _fault_of_namespace(self, kind: str, namespace: str) -> Fault | None:
        """Return why a resource has no effect in a namespace, None if it may have one."""
        basis = self.rehearsed.basis
        # `troth audit` reads exceptions wherever its user may
        if namespace not in basis.watched and kind != FINDING_EXCEPTION:
            return Fault(NOT_WATCHED, not_watched(namespace))
        if namespace in self.rehearsed.after.registry.namespaces:
            return None
        if basis.cluster and "Namespace" not in basis.hidden:
            message = (
                f"Namespace {namespace} exists neither in the cluster nor in the manifests; create "
                "it, or correct the name"
            )
        else:
            message = (
                f"Namespace {namespace} is not among the manifests; add it with -f or --assume, or "
                f"name its labels with --assume-namespace {namespace},LABEL=VALUE"
            )
        return Fault(NO_NAMESPACE, message)

    def _shared(self) -> Iterator[Finding]:
        """Yield a finding for each two identities that collide, about the one to change."""
        registry = self.rehearsed.after.registry
        told: set[frozenset[Ref]] = set()
        for ref in sorted(registry.identities):
            shared = registry.shared_identity(ref)
            if shared is None:
                continue
            pair = frozenset({ref, shared.other or ref})
            if pair in told or not any(self._is_ours(IDENTITY, each) for each in pair):
                continue
            told.add(pair)
            mine = [each for each in sorted(pair) if self._is_ours(IDENTITY, each)]
            subject = shared.culprit if shared.culprit in mine else mine[-1]
            assert subject is not None
            steps = ("spec", "workload")
            yield self._finding(Severity.ERROR, SHARED, shared.message, IDENTITY, subject, steps)

    def _edges(self) -> Iterator[Finding]:
        before = {
            (each.caller, each.callee, each.port, each.reason)
            for each in self.rehearsed.edges_before
        }
        registry = self.rehearsed.after.registry
        for edge in self.rehearsed.edges:
            if edge.state is EdgeState.LIVE or self._is_consequence(edge.reason):
                continue
            ends = edge_steps(edge, registry)
            mine = [(ref, steps) for ref, steps in ends if self._is_ours(IDENTITY, ref)]
            if not mine and (edge.caller, edge.callee, edge.port, edge.reason) in before:
                continue
            for ref, steps in (mine or ends)[:1]:
                yield self._finding(Severity.ERROR, edge.reason, edge.message, IDENTITY, ref, steps)

    def _grants(self) -> Iterator[Finding]:
        before = {
            (each.identity, each.action, each.policy, each.group, each.reason)
            for each in everything_granted(self.rehearsed.before)
        }
        for grant in self.grants:
            passing = grant.state is GrantState.INACTIVE or self._is_consequence(grant.reason)
            if grant.state in GIVEN or not grant.reason or passing:
                continue
            ends = grant_steps(grant, self.rehearsed.after)
            mine = [each for each in ends if self._is_ours(each[0], each[1])]
            known = (grant.identity, grant.action, grant.policy, grant.group, grant.reason)
            if not mine and known in before:
                continue
            severity = self._severity(grant.reason)
            whole: list[tuple[str, Ref, tuple[Step, ...]]] = [(POLICY, grant.policy, ())]
            for kind, ref, steps in (mine or ends or whole)[:1]:
                yield self._finding(severity, grant.reason, grant.message, kind, ref, steps)

    def _conditions(self, place: tuple[str, Ref], manifest: Manifest) -> Iterator[Finding]:
        kind, ref = place
        if not self._is_ours(kind, ref) and not _was_ready(self.rehearsed.start.get(place)):
            return
        conditions = (manifest.get("status") or {}).get("conditions") or []
        by_type = {condition["type"]: condition for condition in conditions}
        for type_, steps in _CONDITIONS.items():
            condition = by_type.get(type_)
            if condition is None or self._is_consequence(condition["reason"]):
                continue
            reason, message = condition["reason"], condition.get("message", "")
            if condition["status"] == "False":
                yield self._finding(self._severity(reason), reason, message, kind, ref, steps)
            elif reason.endswith("Ending"):
                yield self._finding(Severity.WARNING, reason, message, kind, ref, steps)

    def _exceptions(self) -> Iterator[Finding]:
        for ref, identity in sorted(self.rehearsed.after.registry.identities.items()):
            if self._is_ours(IDENTITY, ref):
                for severity, reason, message, steps in ending(identity, self.rehearsed.now):
                    yield self._finding(severity, reason, message, IDENTITY, ref, steps)

    def _finding_exceptions(self) -> Iterator[Finding]:
        for (kind, ref), document in self.rehearsed.basis.manifests.documents.items():
            if kind == FINDING_EXCEPTION:
                for severity, reason, message, steps in without_effect(
                    document.manifest, self.rehearsed.now
                ):
                    yield self._finding(severity, reason, message, kind, ref, steps)

    def _reviews(self) -> Iterator[Finding]:
        policies = self.rehearsed.after.brokers.messaging.policies
        for (kind, ref), document in self.rehearsed.basis.manifests.documents.items():
            found = obstacle(document.manifest, policies) if kind == REVIEW else None
            if found is not None and not self._is_consequence(found[1]):
                yield self._finding(*found, kind, ref, ("spec", "policy"))

    def _schemas(self) -> Iterator[Finding]:
        after = self.rehearsed.after
        for _, policy in sorted(after.brokers.messaging.policies.items()):
            places = [each for each in schema_places(policy) if self._is_ours(each[0], each[1])]
            if not places:
                continue
            kind, ref, steps = places[0]
            for severity, reason, message in incompatible(policy, self.rehearsed.earlier, after):
                yield self._finding(severity, reason, message, kind, ref, steps)

    def _is_consequence(self, reason: str) -> bool:
        """Return whether another finding says what is wrong, or nothing is."""
        manifests = self.rehearsed.basis.manifests
        match ORIGINS.get(reason):
            case Origin.BROKER:  # no broker was contacted
                return True
            case Origin.MISSING if manifests.unplaced or manifests.without_namespace:
                return True
            case Origin.INVALID if self.faulty:  # a finding of its own
                return True
        return reason in _ELSEWHERE

    def _severity(self, reason: str) -> Severity:
        """Return `NOTICE` if only a cluster could show a fault, or if nobody wants it enforced."""
        basis = self.rehearsed.basis
        match ORIGINS.get(reason):
            case Origin.SECRET if not basis.cluster or "Secret" in basis.hidden:
                return Severity.NOTICE
            case Origin.OBJECT if not basis.cluster:
                return Severity.NOTICE
            case Origin.MODE:
                return Severity.NOTICE
        return Severity.ERROR


def _was_ready(manifest: Manifest | None) -> bool:
    conditions = ((manifest or {}).get("status") or {}).get("conditions") or []
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
