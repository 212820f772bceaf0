"""Gateway's configuration of an endpoint, and the condition GatewayConfigured."""

from collections.abc import Iterable, Iterator

from troth.planning import faults, verdicts
from troth.planning.faults import ErrorBoundary
from troth.planning.owned_objects import rechecks
from troth.planning.parts import Part, fails_closed
from troth.planning.steps.objects import Remove
from troth.planning.steps.step import Step
from troth.planning.steps.webhooks import CompileEndpoint
from troth.planning.webhooks.document import document_of
from troth.planning.webhooks.judged import JudgedEndpoint
from troth.planning.webhooks.keys import EndpointKeys
from troth.planning.webhooks.owned_secrets import compiled_manifest
from troth.planning.webhooks.reach import KEPT, UNSERVED
from troth.planning.webhooks.unsigned import unsigned_fault
from troth.planning.webhooks.view import WebhookView
from troth.resources.conditions import Verdict
from troth.world.facts.objects import Fault
from troth.world.facts.webhook import CompiledSecret

CONDITION = "GatewayConfigured"
PENDING = "GatewayPending"


def removals(compiled: Iterable[CompiledSecret]) -> Iterator[Step]:
    """Yield the removals of an endpoint's configuration from gateways."""
    yield from (Remove("Secret", each.ref, each.uid) for each in compiled)


def _closed(error: Exception, judged: JudgedEndpoint) -> Part:
    """Return the part that still takes removed keys from the gateway."""
    steps = ErrorBoundary().run(lambda: tuple(_withdrawal(judged.view)), lambda _: ())
    return Part((faults.verdict(CONDITION, error),), steps)


@fails_closed(_closed)
def plan_gateway(judged: JudgedEndpoint) -> Part:
    """Return the part on the gateway's configuration of an endpoint, with its steps."""
    view, fault, step = judged.view, judged.gateway_fault, _compilation(judged)
    steps = (step,) if step is not None else tuple(_narrowing(view, fault))
    verdict = _verdict(view, judged.keys, step)
    if fault is not None:
        verdict = verdicts.false(CONDITION, fault.reason, fault.message)
    return Part(verdicts=(verdict,), steps=steps, dues=rechecks(view.place))


def _narrowing(view: WebhookView, fault: Fault | None) -> Iterator[Step]:
    """Yield the steps for an endpoint that the gateway does not get, because of a fault or not."""
    if fault is not None and fault.reason in UNSERVED:
        yield from removals((view.compiled,) if view.compiled is not None else ())
    elif fault is not None and fault.reason in KEPT:
        yield from _withdrawal(view)


def _verdict(view: WebhookView, tried: EndpointKeys, step: CompileEndpoint | None) -> Verdict:
    """Return the verdict on a configuration that no fault prevents."""
    if step is None:
        message = (
            "the gateway gets the endpoint's configuration as soon as there is a key to verify "
            "deliveries with"
        )
        return verdicts.unknown(CONDITION, tried.verdict.reason, message)
    if view.compiled is not None and step.matches(view.compiled):
        message = "the gateway has the endpoint's current configuration"
        return verdicts.true(CONDITION, "Configured", message)
    message = "the gateway's configuration of the endpoint is being written"
    return verdicts.false(CONDITION, PENDING, message)


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


def _compilation(judged: JudgedEndpoint) -> CompileEndpoint | None:
    """Return the step that writes the configuration, None if it is not to be written."""
    view, tried, fault = judged.view, judged.keys, judged.gateway_fault
    if fault is not None and fault.reason in UNSERVED | KEPT:
        return None
    if not judged.can_verify and view.compiled is None:
        return None
    reached = judged.target
    target, why = reached.target, reached.fault
    unsigned = unsigned_fault(view)
    if unsigned is not None:
        target, why = None, unsigned
    if not judged.can_verify:
        target, why = None, Fault(tried.verdict.reason, tried.verdict.message)
    return CompileEndpoint(
        compiled_manifest(view.place.ref, view.endpoint),
        document_of(view, target, why.message if why is not None else ""),
        tried.source if tried.keys else None,
        {key.id: key.fingerprint for key in tried.keys},
        reached.listed,
    )
