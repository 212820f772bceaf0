"""Plan of a `WebhookEndpoint`: its keys, the gateway's configuration of it, and its status."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from troth.planning import status as verdicts
from troth.planning.owned_objects import FOREIGN_RETRY
from troth.planning.plan import Plan
from troth.planning.steps.objects import Remove
from troth.planning.steps.step import Step
from troth.planning.steps.webhooks import CompileEndpoint
from troth.planning.webhooks import keys as webhook_keys
from troth.planning.webhooks import propagation as webhook_told
from troth.planning.webhooks.document import document_of
from troth.planning.webhooks.keys import Tried, plan_keys
from troth.planning.webhooks.owned_secrets import compiled_manifest
from troth.planning.webhooks.reach import (
    GATEWAY_CHECKS,
    KEPT,
    UNSERVED,
    Reached,
    first_fault,
    plan_reach,
)
from troth.planning.webhooks.rotation import SecretRotation, plan_secret
from troth.planning.webhooks.status import (
    endpoint_status,
    unsigned_dues,
    unsigned_fault,
    unsigned_verdicts,
)
from troth.planning.webhooks.view import EndpointView, WebhookView
from troth.resources.conditions import Verdict
from troth.resources.identity.status import EdgeState
from troth.resources.metadata import is_terminating
from troth.resources.schema.scalars import format_time
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.resources.webhooks.endpoint_status import WebhookEndpointStatus
from troth.world.facts.objects import Fault
from troth.world.facts.webhook import CompiledSecret

GATEWAY, TARGET = "GatewayConfigured", "TargetReachable"
PENDING = "GatewayPending"
ON_ITS_WAY = webhook_keys.ON_ITS_WAY | webhook_told.ON_ITS_WAY | {PENDING}
"""Reasons that end without a person doing anything."""
TERMINATES = "no gateway serves it any more, and its target rejects its deliveries"
"""Consequence of the deletion of an endpoint."""


def plan_webhook_endpoint(known: EndpointView) -> Plan:
    """Return the plan of an endpoint.

    If the endpoint is deleted, its configuration is removed from every gateway. Its own Secret is
    deleted with it.
    """
    key, endpoint, now = known.key, known.endpoint, known.moment.now
    if known.unreadable is not None:
        return verdicts.unreadable_plan(key, known.unreadable, now)
    if endpoint is None or known.ends or is_terminating(endpoint):
        uid = endpoint.metadata.uid if endpoint else ""
        gone = Plan(key, uid, steps=tuple(removals(known.compiled)))
        if endpoint is None or known.ends:
            return gone
        return verdicts.terminating_plan(gone, endpoint, endpoint.status, TERMINATES, now)
    if known.inbound is None:
        return _outbound(known, endpoint)
    return _plan(known, known.inbound)


def removals(compiled: Iterable[CompiledSecret]) -> Iterator[Step]:
    """Yield the removals of an endpoint's configuration from gateways."""
    yield from (Remove("Secret", each.ref, each.uid) for each in compiled)


def _outbound(known: EndpointView, endpoint: WebhookEndpoint) -> Plan:
    message = "outbound webhooks are not supported yet, so nothing is sent"
    summary = verdicts.summed_up([verdicts.false("Served", "Unsupported", message)], frozenset())
    status = WebhookEndpointStatus(observed_generation=endpoint.metadata.generation).manifest()
    status["conditions"] = verdicts.conditions(
        endpoint, endpoint.status.conditions, summary, known.moment.now
    )
    return Plan(
        known.key,
        endpoint.metadata.uid,
        steps=tuple(removals(known.compiled)),
        status=status,
        previous_status=endpoint.status.manifest(),
    )


@dataclass(frozen=True, slots=True)
class _Compiled:
    """Steps for the gateway's configuration of an endpoint, and the verdict on it."""

    verdict: Verdict
    steps: tuple[Step, ...] = ()


def _plan(known: EndpointView, view: WebhookView) -> Plan:
    tried, rotation, fault = plan_keys(view), plan_secret(view), first_fault(view, GATEWAY_CHECKS)
    reached = plan_reach(view, at_gateway=_is_at_gateway(view, tried, fault))
    compiled = _plan_compiled(view, tried, reached, fault)
    judged = [
        tried.verdict,
        compiled.verdict,
        _target_verdict(view, reached),
        *unsigned_verdicts(view),
    ]
    summary = verdicts.summed_up(judged, ON_ITS_WAY)
    status = endpoint_status(view, tried, rotation).manifest()
    previous = view.endpoint.status.conditions
    status["conditions"] = verdicts.conditions(
        view.endpoint, previous, (*summary, *judged), view.moment.now
    )
    step = tried.step or rotation.step
    dues = (*_dues(view, rotation, reached), *unsigned_dues(view))
    elsewhere = (each for each in known.compiled if each.ref != view.place.ref)
    return Plan(
        known.key,
        view.endpoint.metadata.uid,
        steps=(*((step,) if step else ()), *compiled.steps, *removals(elsewhere)),
        status=status,
        previous_status=view.endpoint.status.manifest(),
        due=min((due for due in dues if due > view.moment.now), default=None),
    )


def _is_at_gateway(view: WebhookView, tried: Tried, fault: Fault | None) -> bool:
    """Return whether the gateway has the endpoint, or is about to get it."""
    if fault is not None and fault.reason in UNSERVED:
        return False
    may_begin = fault is None or fault.reason not in KEPT
    return view.compiled is not None or (may_begin and _has_keys(view, tried))


def _has_keys(view: WebhookView, tried: Tried) -> bool:
    return bool(tried.keys) or view.needs_no_key


def _plan_compiled(
    view: WebhookView, tried: Tried, reached: Reached, fault: Fault | None
) -> _Compiled:
    refused = verdicts.false(GATEWAY, fault.reason, fault.message) if fault else None
    if fault is not None and fault.reason in UNSERVED:
        mine = (view.compiled,) if view.compiled is not None else ()
        return _Compiled(refused or _waiting(tried), tuple(removals(mine)))
    if fault is not None and fault.reason in KEPT:
        return _Compiled(refused or _waiting(tried), tuple(_withdrawal(view)))
    has_keys = _has_keys(view, tried)
    if not has_keys and view.compiled is None:
        return _Compiled(refused or _waiting(tried))
    step = _step(view, tried, reached, has_keys=has_keys)
    done = view.compiled is not None and step.matches(view.compiled)
    if done:
        verdict = verdicts.true(
            GATEWAY, "Configured", "the gateway has the endpoint's current configuration"
        )
    else:
        verdict = verdicts.false(
            GATEWAY, PENDING, "the gateway's configuration of the endpoint is being written"
        )
    return _Compiled(refused or verdict, (step,))


def _withdrawal(view: WebhookView) -> Iterator[Step]:
    """Yield the step that removes from the gateway the keys that their Secret no longer has.

    The rest of the configuration stays. Troth knows which keys a person removed, even while other
    parts are unknown. A gateway rejects a configuration without its last key and would continue
    with the previous one, so Troth then removes the whole Secret. It also does so if somebody else
    changed the Secret, because its previous content is unknown.
    """
    if view.compiled is None:
        return
    if not view.compiled.intact:
        yield from removals((view.compiled,))
        return
    there = {key.id: key.fingerprint for key in view.keys.keys} if view.keys is not None else {}
    left = {key: text for key, text in view.compiled.keys.items() if there.get(key) == text}
    if left == view.compiled.keys:
        return
    if view.keys is None or not left:
        yield from removals((view.compiled,))
        return
    manifest, known = compiled_manifest(view.place.ref, view.endpoint), view.compiled
    yield CompileEndpoint(manifest, known.document, view.keys.ref, left, known.listed)


def _waiting(tried: Tried) -> Verdict:
    message = (
        "the gateway gets the endpoint's configuration as soon as there is a key to verify "
        "deliveries with"
    )
    return verdicts.unknown(GATEWAY, tried.verdict.reason, message)


def _step(view: WebhookView, tried: Tried, reached: Reached, *, has_keys: bool) -> CompileEndpoint:
    target, why = reached.target, reached.fault
    unsigned = unsigned_fault(view)
    if unsigned is not None:
        target, why = None, unsigned
    if not has_keys:
        target, why = None, Fault(tried.verdict.reason, tried.verdict.message)
    return CompileEndpoint(
        compiled_manifest(view.place.ref, view.endpoint),
        document_of(view, target, why.message if why is not None else ""),
        tried.source if tried.keys else None,
        {key.id: key.fingerprint for key in tried.keys},
        reached.listed,
    )


def _target_verdict(view: WebhookView, reached: Reached) -> Verdict:
    fault = reached.fault
    if fault is None:
        return verdicts.true(
            TARGET,
            "Reachable",
            "the gateway is allowed to call the target, and a Service leads to it",
        )
    if view.edge.state is EdgeState.SUSPENDED or (view.gateway is None and view.target is not None):
        return verdicts.unknown(TARGET, fault.reason, fault.message)
    return verdicts.false(TARGET, fault.reason, fault.message + _why(view, reached))


def _why(view: WebhookView, reached: Reached) -> str:
    """Return what the target waits for, and until when if that is known.

    The time is rounded to the nearest second, so that the text stays the same.
    """
    if reached.wait is None:
        return f": {reached.why}" if reached.why else ""
    until = view.moment.now + reached.wait + timedelta(milliseconds=500)
    return f": {reached.why} {format_time(until)}"


def _dues(view: WebhookView, rotation: SecretRotation, reached: Reached) -> Iterator[datetime]:
    if reached.wait is not None:
        yield view.moment.now + reached.wait
    if rotation.wait is not None:
        yield view.moment.now + rotation.wait
    if rotation.due is not None:
        yield rotation.due
    for place in (view.generated, view.place):
        if place.seen is not None:
            yield place.seen + FOREIGN_RETRY
