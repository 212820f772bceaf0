"""Unsigned deliveries that an endpoint accepts for a time, and the condition UnsignedAccepted."""

from datetime import timedelta

from troth.planning import verdicts
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.webhooks.view import WebhookView
from troth.resources.conditions import Verdict
from troth.resources.schema.scalars import format_time
from troth.resources.webhooks.inbound import AcceptUnsigned
from troth.world.facts.objects import Fault

CONDITION = "UnsignedAccepted"
WARNING = timedelta(days=14)
"""Time before the end of unsigned deliveries at which the warning starts."""


def unsigned_fault(view: WebhookView) -> Fault | None:
    """Return why unsigned deliveries are rejected although the endpoint accepts them."""
    unsigned = view.inbound.accept_unsigned
    if unsigned is None:
        return None
    if view.moment.now >= unsigned.expires_at:
        message = (
            f"unsigned deliveries were accepted until {format_time(unsigned.expires_at)}; use "
            "scheme GitLab with a signing token, or decide again and write another expiresAt"
        )
        return Fault("UnsignedExpired", message)
    if view.moment.now < unsigned.counts_from:
        message = "acceptUnsigned.expiresAt is more than 90 days ahead; write an earlier time"
        return Fault("UnsignedTooLong", message)
    return None


@fails_closed(unplanned(CONDITION))
def plan_unsigned(view: WebhookView) -> Part:
    """Return the part on unsigned deliveries, which is empty if the endpoint accepts none."""
    unsigned = view.inbound.accept_unsigned
    if unsigned is None:
        return Part()
    ends = unsigned.expires_at
    dues = (unsigned.counts_from, ends - WARNING, ends)
    return Part(verdicts=(_verdict(view, unsigned),), dues=dues)


def _verdict(view: WebhookView, unsigned: AcceptUnsigned) -> Verdict:
    fault = unsigned_fault(view)
    whose = f"owner {unsigned.owner}, reason: {unsigned.reason}"
    if fault is not None:
        return verdicts.false(CONDITION, fault.reason, fault.message)
    if unsigned.expires_at <= view.moment.now + WARNING:
        message = (
            f"unsigned deliveries are accepted until {format_time(unsigned.expires_at)}; from "
            f"then on, every delivery is rejected ({whose})"
        )
        return verdicts.true(CONDITION, "UnsignedEnding", message)
    return verdicts.true(CONDITION, "UntilItsEnd", whose)
