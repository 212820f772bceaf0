"""Restarts of an identity's workloads, for programs that do not reload their files.

Troth restarts one workload at a time, in the way of `kubectl rollout restart`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

from troth.pki.certificates.leaf import renewal_spread, short
from troth.planning import verdicts
from troth.planning.certificates.rollouts import (
    ENABLE,
    StaleContent,
    evidence_of,
    lack_of,
    restartable,
)
from troth.planning.identity.facts import Restartable, View
from troth.planning.owned_objects import is_child
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.steps.objects import Restart
from troth.resources.conditions import Verdict
from troth.trust.declarations.restarts import workloads
from troth.world.facts.objects import IdentitySecret, Workload

TYPE = "RolledOut"
IN_USE = verdicts.true(TYPE, "InUse", "every workload runs with the current certificate and roots")
Found = list[tuple[Workload, StaleContent]]


@dataclass(frozen=True, slots=True)
class Rollout:
    """State of the restarts: condition, next restart, and how long it waits.

    `pending` is whether a workload still runs with a replaced certificate or root, and `held_up`
    whether Troth cannot restart it.
    """

    verdict: Verdict
    step: Restart | None = None
    wait: timedelta | None = None
    pending: bool = False
    held_up: bool = False


@fails_closed(unplanned())
def plan_restarts(view: View, *, changing: bool) -> Part:
    """Return the condition of the declared restarts, and the next one.

    While the Secret is `changing`, no restart begins, because it would need another one.
    """
    rollout = plan_rollout(view)
    if rollout is None:
        return Part()
    step = rollout.step if not changing else None
    return Part(
        beside=(rollout.verdict,),
        steps=(step,) if step is not None else (),
        dues=(view.moment.now + rollout.wait,) if rollout.wait is not None else (),
    )


def plan_rollout(view: View) -> Rollout | None:
    """Return the state of an identity's declared restarts, None if it declares none."""
    if view.identity.spec.on_rotation is None:
        return None
    obstacle = _obstacle(view)
    if obstacle is not None:
        return Rollout(obstacle)
    assert view.secret is not None
    return _next(view, view.secret)


def _restartable(view: View) -> Iterator[Workload]:
    return restartable(view.identity, (each.workload for each in view.workloads.values()))


def _known(view: View, workload: Workload) -> Restartable:
    return view.workloads[(workload.kind, workload.ref)]


def _obstacle(view: View) -> Verdict | None:
    """Return why Troth can neither judge nor make restarts, None if it can."""
    if not view.may_restart:
        message = f"this operator does not restart workloads; {ENABLE}"
        return verdicts.unknown(TYPE, "RolloutsDisabled", message)
    if view.domain is None:
        return verdicts.unknown(TYPE, view.governance.reason, view.governance.message)
    if view.shared is not None:
        return verdicts.unknown(TYPE, "SharedIdentity", view.shared.message)
    secret = view.secret
    if secret is None or secret.leaf is None or not is_child(secret, view.identity):
        return verdicts.unknown(TYPE, "NoCertificate", "there is no certificate yet")
    return None


def _next(view: View, secret: IdentitySecret) -> Rollout:
    """Return the next restart, or what it waits for."""
    assert view.domain is not None
    found = [
        (workload, lack_of(workload, secret, view.domain, view.known_authority))
        for workload in _restartable(view)
    ]
    in_motion = next((each for each, lack in found if not lack and not each.complete), None)
    if in_motion is not None:
        return Rollout(_rolling_out(in_motion, found), pending=True)
    due = [pair for pair in found if pair[1]]
    if not due:
        return Rollout(_unusable(view) or IN_USE)
    ready = [pair for pair in due if not pair[0].paused]
    if not ready:
        return Rollout(_paused(due[0][0]), pending=True, held_up=True)
    # incomplete workloads come first: they are unhealthy anyway, and nothing else rolls out then
    ready.sort(key=lambda pair: pair[0].complete)
    workload, lack = next(
        (pair for pair in ready if _known(view, pair[0]).budget is None), ready[0]
    )
    wait = _wait(view, secret, lack)
    if wait > timedelta(0):
        message = f"{workload} waits for its turn to be restarted {_for_what(secret, lack)}"
        return Rollout(verdicts.false(TYPE, "AwaitingTurn", message), wait=wait, pending=True)
    return _restart(_known(view, workload), secret, lack, found)


def _wait(view: View, secret: IdentitySecret, lack: StaleContent) -> timedelta:
    """Return how long a restart waits: until mounts of new pods show the Secret's content.

    New roots reach a whole fleet at once, so identities take turns to restart for them. Leaves are
    renewed in turns already.
    """
    assert view.domain is not None
    in_turns = lack.assumed or not lack.leaf
    turn = renewal_spread(view.identity.metadata.uid) if in_turns else 0.0
    elapsed = timedelta(seconds=view.moment.uptime - max(secret.leaf_since, secret.roots_since))
    return view.domain.spec.bundle.propagation * (1 + turn) - elapsed


def _restart(
    known: Restartable, secret: IdentitySecret, lack: StaleContent, found: Found
) -> Rollout:
    workload, budget = known.workload, known.budget
    if budget is not None:
        message = (
            f"{workload} waits to be restarted {_for_what(secret, lack)}: PodDisruptionBudget "
            f"{budget.ref} currently allows no disruption of its pods"
        )
        verdict = verdicts.false(TYPE, "BudgetAllowsNone", message)
        return Rollout(verdict, pending=True, held_up=True)
    step = Restart(
        kind=workload.kind,
        ref=workload.ref,
        uid=workload.uid,
        resource_version=workload.resource_version,
        evidence=str(evidence_of(secret)),
        message=f"{workload} is being restarted {_for_what(secret, lack)}",
    )
    failed = verdicts.faulty(TYPE, known.write_fault)
    verdict = failed or _rolling_out(workload, found)
    return Rollout(verdict, step, pending=True, held_up=failed is not None)


def _for_what(secret: IdentitySecret, lack: StaleContent) -> str:
    assert secret.leaf is not None
    if lack.leaf:
        return f"for the certificate {short(secret.leaf.fingerprint)}"
    return f"for the root {' and '.join(sorted(lack.roots))}"


def _rolling_out(workload: Workload, found: Found) -> Verdict:
    done = sum(each.complete and not lack for each, lack in found)
    message = (
        f"{workload} is being rolled out; {done} of {len(found)} workloads run with the current "
        "certificate and roots"
    )
    return verdicts.false(TYPE, "RollingOut", message)


def _paused(workload: Workload) -> Verdict:
    message = f"{workload} is paused, so a restart would have no effect; resume it"
    return verdicts.false(TYPE, "RolloutPaused", message)


def _unusable(view: View) -> Verdict | None:
    """Return the condition of the first listed workload that cannot be restarted, if any."""
    usable = {(each.kind, each.ref) for each in _restartable(view)}
    wanting = next((place for place in workloads(view.identity) if place not in usable), None)
    if wanting is None:
        return None
    kind, ref = wanting
    if wanting not in view.workloads:
        message = (
            f"{kind} {ref} does not exist, so it is not restarted; create it, or remove the entry"
        )
        return verdicts.false(TYPE, "WorkloadMissing", message)
    message = (
        f"{kind} {ref} is not restarted, because workload.podSelector does not select its pods; "
        "correct the selector, or remove the entry"
    )
    return verdicts.false(TYPE, "NotItsWorkload", message)
