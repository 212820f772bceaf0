"""Evaluates rules over a scene: whole, and after that only where something changed."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from troth.audit.brokers.sight import unseen_at_brokers
from troth.audit.exceptions import Excepted, separated, unreadable
from troth.audit.finding import Cause, Finding, Object, Unseen
from troth.audit.registry import RULE_BY_ID, RULES
from troth.audit.rule import Rule, Scope
from troth.audit.rules.network.not_enforced import PROBE
from troth.audit.scene import Scene
from troth.resources.findings.exception import FINDING_EXCEPTION
from troth.resources.references import Ref
from troth.resources.reported import Severity


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Findings of all rules, the worst first, and what rules could not see."""

    findings: tuple[Finding, ...]
    """Findings that nobody excepts."""
    unseen: tuple[Unseen, ...]
    excepted: tuple[Excepted, ...] = ()
    """Findings that somebody accepts, each with its FindingException as `namespace/name`."""


@dataclass(slots=True)
class Evaluator:
    """Keeps the findings of each rule and namespace, so that a change costs what it affects."""

    rules: tuple[Rule, ...] = RULES
    _found: dict[tuple[str, str], tuple[Finding, ...]] = field(default_factory=dict)

    def evaluate(self, scene: Scene, changed: Iterable[str] | None = None) -> Evaluation:
        """Return all findings after evaluating these namespaces again, all of them for None."""
        everywhere = scene.namespaces()
        if changed is None:
            self._found.clear()
            changed = everywhere
        for rule in self.rules:
            for namespace in [""] if rule.scope is Scope.CLUSTER else changed:
                self._found[rule.id, namespace] = tuple(
                    replace(each, owner=scene.owner_of(each.subject))
                    for each in rule.find(scene, namespace)
                )
        unseen = tuple(each for rule in self.rules for each in unseen_by(rule, scene))
        everything = merged(each for found in self._found.values() for each in found)
        findings, excepted = separated(everything, scene)
        return Evaluation(findings, unseen, excepted)


def unseen_by(rule: Rule, scene: Scene) -> Iterable[Unseen]:
    """Yield what a rule needs and could not read, one for each reason."""
    by_reason: dict[str, list[str]] = {}
    for kind in sorted(rule.reads & scene.hidden.keys()):
        by_reason.setdefault(scene.hidden[kind], []).append(kind)
    for reason, kinds in by_reason.items():
        unwanted = scene.unwanted.issuperset(kinds)
        cause = Cause.NOT_CONFIGURED if unwanted else Cause.DENIED
        yield Unseen(rule.id, tuple(kinds), reason, cause)
    if "probes" in rule.sources and _nobody_probed(scene):
        reason = "nobody has probed; see troth prove"
        yield Unseen(rule.id, ("probes",), reason, Cause.NOT_CONFIGURED)
    for kind, ref in _unreadable(rule, scene):
        reason = "this version of Troth cannot read it"
        yield Unseen(rule.id, (f"{kind} {ref}",), reason, Cause.UNREADABLE)
    yield from unseen_at_brokers(rule, scene)


def _nobody_probed(scene: Scene) -> bool:
    """Return whether a cluster has identities, and no probe of a pair without an edge was made."""
    identities = scene.world.registry.identities.values()
    proofs = (proof for each in identities for proof in each.status.proofs)
    probed = any(proof.probe == PROBE for proof in proofs)
    return scene.in_cluster and bool(identities) and not probed


def _unreadable(rule: Rule, scene: Scene) -> Iterator[tuple[str, Ref]]:
    """Yield the resources that a rule reads and whose spec this version does not know."""
    for key in sorted(scene.world.unreadable):
        at_brokers = key.kind == "MessageBroker" and "brokers" in rule.sources
        if key.kind in rule.reads and not at_brokers:  # `unseen_at_brokers` yields these
            yield key.kind, key.ref
    if FINDING_EXCEPTION in rule.reads:
        for ref in unreadable(scene):
            yield FINDING_EXCEPTION, ref


def merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings in order, those with one key as one.

    It has the worst severity and all evidence. IDs are keys of lists in statuses, so no two
    findings may share one.
    """
    found: dict[tuple[str, Object, str], Finding] = {}
    for each in in_order(findings):
        known = found.setdefault(each.key, each)
        if known is not each:
            evidence = tuple(dict.fromkeys((*known.evidence, *each.evidence)))
            found[each.key] = replace(known, evidence=evidence)
    return tuple(found.values())


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings by severity, rule and subject."""
    return tuple(
        sorted(
            findings,
            key=lambda each: (severity_of(each).rank, *each.key),
        )
    )


def severity_of(finding: Finding) -> Severity:
    """Return the severity of a finding: its own, or else the rule's."""
    return finding.severity or RULE_BY_ID[finding.rule].severity
