"""`plan`: the entry point of planning."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import TypeVar

from troth.planning.brokers import view as brokers
from troth.planning.brokers.planner import plan_message_broker
from troth.planning.brokers.unlisted_deletion import plan_unlisted_deletion
from troth.planning.credential_rotation import view as credential_rotation
from troth.planning.credential_rotation.planner import plan_credential_rotation
from troth.planning.faults import failed_plan
from troth.planning.grants import view as grants
from troth.planning.grants.topic_policy import plan_topic_policy
from troth.planning.identity import view as identity
from troth.planning.identity.edge_status import with_closed_edges
from troth.planning.identity.planner import plan_service_identity
from troth.planning.moment import Moment
from troth.planning.plan import Plan
from troth.planning.trust_domain import view as trust_domain
from troth.planning.trust_domain.issuer.configuration import plan_issuer_view
from troth.planning.trust_domain.planner import plan_trust_domain
from troth.planning.webhooks import view as webhooks
from troth.planning.webhooks.planner import plan_webhook_endpoint
from troth.trust.declarations.narrowing import Narrowing
from troth.world.keys import ISSUER_VIEW, METADATA_OF, Key
from troth.world.reader import Reader
from troth.world.world import World

V = TypeVar("V")
Planner = Callable[[Key, World, Moment], Plan]


def _of_view(gather: Callable[[Key, Reader, Moment], V], plan: Callable[[V], Plan]) -> Planner:
    """Return the planner of a kind whose plan follows from its view alone."""
    return lambda key, world, moment: plan(gather(key, Reader(world), moment))


PLANNERS: dict[str, Planner] = {
    "TrustDomain": _of_view(trust_domain.gather, plan_trust_domain),
    "ServiceIdentity": _of_view(identity.gather, plan_service_identity),
    "MessageBroker": _of_view(brokers.gather, plan_message_broker),
    "TopicPolicy": _of_view(grants.gather, plan_topic_policy),
    "CredentialRotation": _of_view(credential_rotation.gather, plan_credential_rotation),
    "WebhookEndpoint": _of_view(webhooks.gather, plan_webhook_endpoint),
    ISSUER_VIEW: _of_view(trust_domain.gather_known_issuer, plan_issuer_view),
    **dict.fromkeys(
        METADATA_OF.values(), _of_view(brokers.gather_unlisted, plan_unlisted_deletion)
    ),
}


def plan(key: Key, world: World, moment: Moment) -> Plan:
    """Return the plan of the resource with this key at a moment.

    If planning raises an exception, the plan has no steps, and its status reports the exception.
    In a namespace without a complete list of its objects, nothing is planned but the end of
    deletions.
    """
    if key.ref.namespace in world.registry.unlisted and key.kind not in METADATA_OF.values():
        return Plan(key, "")
    try:
        return PLANNERS[key.kind](key, world, moment)
    except Exception as error:  # noqa: BLE001 - one resource must not stop the others
        failed = failed_plan(key, world, error, moment.now)
        return _closing(failed, failed.unapplied, world, moment.now)


def plan_after_failure(key: Key, world: World, error: Exception, now: datetime) -> Plan:
    """Return the plan of a resource whose reconcile raised an exception after it was planned."""
    failed = failed_plan(key, world, error, now)
    return _closing(failed, world.registry.unapplied.get(key.ref), world, now)


def _closing(failed: Plan, narrowing: Narrowing | None, world: World, now: datetime) -> Plan:
    """Return a plan whose status has the edges closed that an identity's narrowing closes."""
    declared = world.registry.claimants.get(failed.key.ref)
    if failed.status is None or failed.unapplied is None or not narrowing or declared is None:
        return failed
    status = with_closed_edges(failed.status, declared, narrowing, world.registry, now)
    return replace(failed, status=status)
