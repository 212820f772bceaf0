"""`plan`: the entry point of planning."""

from troth.planning.brokers.planner import plan_message_broker
from troth.planning.faults import failed_plan
from troth.planning.grants.topic_policy import plan_topic_policy
from troth.planning.identity.planner import plan_service_identity
from troth.planning.moment import Moment
from troth.planning.plan import Plan
from troth.planning.rotation.credential_rotation import plan_credential_rotation
from troth.planning.trust_domain.issuer_view import plan_issuer_view
from troth.planning.trust_domain.planner import plan_trust_domain
from troth.planning.webhooks.planner import plan_webhook_endpoint
from troth.world.keys import ISSUER_VIEW, Key
from troth.world.world import World

PLANNERS = {
    "TrustDomain": plan_trust_domain,
    "ServiceIdentity": plan_service_identity,
    "MessageBroker": plan_message_broker,
    "TopicPolicy": plan_topic_policy,
    "CredentialRotation": plan_credential_rotation,
    "WebhookEndpoint": plan_webhook_endpoint,
    ISSUER_VIEW: plan_issuer_view,
}


def plan(key: Key, world: World, moment: Moment) -> Plan:
    """Return the plan of the resource with this key at a moment.

    If planning raises an exception, the plan has no steps, and its status reports the exception.
    """
    try:
        return PLANNERS[key.kind](key, world, moment)
    except Exception as error:  # noqa: BLE001 - one resource must not stop the others
        return failed_plan(key, world, error, moment.now)
