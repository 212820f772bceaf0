"""The NetworkPolicy that Troth writes for an identity with `enforcement: Enforce`."""

from datetime import timedelta
from typing import Any

from troth.audit.scene import Scene
from troth.planning.identity.situation import situation_of
from troth.planning.identity.unsettled import unsettled_policy
from troth.planning.identity.view import gather_readable
from troth.planning.moment import Moment
from troth.planning.network.compiler import compile_policy
from troth.resources.identity.spec import ServiceIdentity
from troth.world.reader import Reader


def enforced_spec(scene: Scene, identity: ServiceIdentity) -> dict[str, Any] | None:
    """Return the spec of an identity's first NetworkPolicy with enforcement, None without one."""
    moment = Moment(scene.now, uptime=0.0, set_forward=timedelta(0))
    view = gather_readable(identity, Reader(scene.world), moment)
    situation = situation_of(view)
    if view.errors or not situation.claims:
        return None
    if not situation.settled:
        return unsettled_policy(view, situation)[0].spec
    return compile_policy(situation).spec
