"""Plan of a `WebhookEndpoint`: its keys, the gateway's configuration of it, and its status."""

from collections.abc import Iterator

from troth.planning import verdicts
from troth.planning.parts import Part, assemble, ending
from troth.planning.plan import Plan
from troth.planning.steps.step import Step
from troth.planning.webhooks.gateway import plan_gateway, removals
from troth.planning.webhooks.judged import JudgedEndpoint
from troth.planning.webhooks.sender_keys import plan_secret_rotation, plan_sender_keys
from troth.planning.webhooks.status import plan_report
from troth.planning.webhooks.target import plan_target
from troth.planning.webhooks.unsigned import plan_unsigned
from troth.planning.webhooks.view import EndpointView, WebhookView
from troth.resources.metadata import is_terminating

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
    removed = tuple(removals(known.compiled))
    if endpoint is None or known.ends:
        return Plan(key, endpoint.metadata.uid if endpoint else "", steps=removed)
    if is_terminating(endpoint):
        parts = Part(steps=removed), ending(endpoint, TERMINATES)
        return assemble(key, endpoint, parts, now)
    if known.inbound is None:
        return assemble(key, endpoint, (_outbound(removed),), now)
    return assemble(key, endpoint, _parts(known, known.inbound), now)


def _outbound(removed: tuple[Step, ...]) -> Part:
    message = "outbound webhooks are not supported yet, so nothing is sent"
    return Part(
        (verdicts.false("Served", "Unsupported", message),),
        steps=removed,
        status={"url": "", "keys": (), "residual_replay": ""},
    )


def _parts(known: EndpointView, view: WebhookView) -> Iterator[Part]:
    judged = JudgedEndpoint(view)
    yield plan_sender_keys(judged)
    yield plan_secret_rotation(judged)
    yield plan_gateway(judged)
    yield plan_target(judged)
    yield plan_unsigned(view)
    yield plan_report(judged)
    elsewhere = (each for each in known.compiled if each.ref != view.place.ref)
    yield Part(steps=tuple(removals(elsewhere)))
