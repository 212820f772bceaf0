"""The NetworkPolicy of an identity.

If it cannot be planned, it keeps what can still be compiled, and otherwise denies everything.
"""

from dataclasses import replace

from troth.planning import faults, verdicts
from troth.planning.faults import ErrorBoundary
from troth.planning.identity.facts import View
from troth.planning.identity.secret.manifest import without_growth
from troth.planning.identity.situation import situation_of, unsettled
from troth.planning.identity.unsettled import unsettled_policy
from troth.planning.network.compiler import (
    Compiled,
    closing_policy,
    compile_policy,
    deny_all,
    without_openings,
)
from troth.planning.network.policy_inputs import PolicyInputs
from troth.planning.owned_objects import is_child, policy_manifest, rechecks, taken
from troth.planning.parts import Part, fails_closed
from troth.planning.steps.objects import Apply, removal
from troth.planning.steps.step import Step
from troth.resources.conditions import Verdict
from troth.resources.identity.spec import Enforcement

TYPE = "NetworkEnforced"
OBSERVING = verdicts.true(
    TYPE,
    "Observing",
    "the NetworkPolicy is planned and reported, but enforcement: Observe does not write it",
)
ENFORCED = verdicts.true(TYPE, "Enforced", "the NetworkPolicy is in place")
PENDING = verdicts.false(TYPE, "PolicyPending", "the NetworkPolicy is being written")


def _closed(error: Exception, view: View, *, settling: bool) -> Part:  # noqa: ARG001 - as planned
    """Return the part of a policy that cannot be planned, and is only narrowed."""
    verdict = (faults.verdict(TYPE, error),)
    owned = view.owned_policy
    is_foreign = owned.fact is not None and not is_child(owned.fact, view.identity)
    if view.identity.spec.enforcement is Enforcement.OBSERVE or is_foreign or owned.seen:
        return Part(verdict)
    compiled = ErrorBoundary().run(
        lambda: closing_policy(situation_of(view)), lambda _: deny_all(view.identity)
    )
    over = owned.fact.resource_version if owned.fact is not None else ""
    return Part(verdict, (_apply(view, compiled, over),))


@fails_closed(_closed)
def plan_network(view: View, *, settling: bool) -> Part:
    """Return the condition of the policy, and the step that writes or removes it.

    While `settling`, nothing opens, because the document must be narrowed first.
    """
    pending, dues = unsettled(view), rechecks(view.owned_policy)
    undenied = removal("NetworkPolicy", view.deny.fact, view.identity)
    if view.identity.spec.enforcement is Enforcement.OBSERVE:
        removed = removal("NetworkPolicy", view.policy, view.identity)
        return Part((verdicts.faulty(TYPE, pending) or OBSERVING,), (*removed, *undenied), dues)
    conflict = verdicts.faulty(TYPE, taken(view.owned_policy, view.identity, view.moment.now))
    if conflict is not None and view.domain is not None:
        return Part((conflict,), dues=dues)
    situation = situation_of(view)
    steps: tuple[Step, ...]
    if pending is None:
        verdict, step = _settled(view, situation, settling=settling)
        steps = (step, *undenied)
    else:
        verdict = verdicts.false(TYPE, pending.reason, pending.message)
        if conflict is not None or not situation.claims:
            return Part((verdict,), dues=dues)
        compiled, before = unsettled_policy(view, situation)
        step = _apply(view, compiled, view.kept_from(view.policy))
        steps = (*before, step, *(() if before else undenied))
    return Part((verdicts.faulty(TYPE, view.owned_policy.write_fault) or verdict,), steps, dues)


def _settled(view: View, situation: PolicyInputs, *, settling: bool) -> tuple[Verdict, Apply]:
    """Return the condition of a settled identity's policy, and the step that writes it."""
    compiled, over = compile_policy(situation), view.kept_from(view.policy)
    verdict = ENFORCED if view.policy is not None else PENDING
    if compiled.overflows:
        message = (
            f"the peers of this identity do not fit into NetworkPolicy {view.owned_policy.ref}, so "
            "revocations take effect but new peers do not; divide the workload over several "
            "identities, or remove edges (see docs/limits.md)"
        )
        verdict = verdicts.false(TYPE, "TooManyPeers", message)
        compiled = compile_policy(replace(situation, edges=without_growth(view).edges))
    if settling and view.policy is not None:
        compiled, over = without_openings(compiled, view.policy), view.policy.resource_version
    return verdict, _apply(view, compiled, over)


def _apply(view: View, compiled: Compiled, over: str) -> Apply:
    ref = view.owned_policy.ref
    return Apply(policy_manifest(ref, view.identity, compiled.spec, compiled.live_peers), over)
