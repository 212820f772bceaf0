"""`plan`: the one entrance to planning."""

from datetime import datetime

from troth.planning.credential_rotation import plan_credential_rotation
from troth.planning.plan import Plan
from troth.planning.service_identity import plan_service_identity
from troth.planning.trust_domain import plan_trust_domain
from troth.world.keys import Key
from troth.world.world import World

PLANNERS = {
    "TrustDomain": plan_trust_domain,
    "ServiceIdentity": plan_service_identity,
    "CredentialRotation": plan_credential_rotation,
}


def plan(key: Key, world: World, now: datetime) -> Plan:
    """Return what the resource of this key asks of the world at a moment (aware UTC)."""
    return PLANNERS[key.kind](key, world, now)
