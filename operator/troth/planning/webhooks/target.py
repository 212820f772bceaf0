"""Whether the gateway can reach the target of an endpoint: the condition TargetReachable."""

from datetime import timedelta

from troth.planning import verdicts
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.webhooks.judged import JudgedEndpoint
from troth.planning.webhooks.reach import TargetState
from troth.planning.webhooks.view import WebhookView
from troth.resources.conditions import Verdict
from troth.resources.identity.status import EdgeState
from troth.resources.schema.scalars import format_time

CONDITION = "TargetReachable"


@fails_closed(unplanned(CONDITION))
def plan_target(judged: JudgedEndpoint) -> Part:
    """Return the part on whether the gateway can reach the target, and when that may change."""
    view, reached = judged.view, judged.target
    wait = () if reached.wait is None else (view.moment.now + reached.wait,)
    return Part(verdicts=(_verdict(view, reached),), dues=wait)


def _verdict(view: WebhookView, reached: TargetState) -> Verdict:
    fault = reached.fault
    if fault is None:
        return verdicts.true(
            CONDITION,
            "Reachable",
            "the gateway is allowed to call the target, and a Service leads to it",
        )
    if view.edge.state is EdgeState.SUSPENDED or (view.gateway is None and view.target is not None):
        return verdicts.unknown(CONDITION, fault.reason, fault.message)
    return verdicts.false(CONDITION, fault.reason, fault.message + _why(view, reached))


def _why(view: WebhookView, reached: TargetState) -> str:
    """Return what the target waits for, and until when if that is known.

    The time is rounded to the nearest second, so that the text stays the same.
    """
    if reached.wait is None:
        return f": {reached.why}" if reached.why else ""
    until = view.moment.now + reached.wait + timedelta(milliseconds=500)
    return f": {reached.why} {format_time(until)}"
