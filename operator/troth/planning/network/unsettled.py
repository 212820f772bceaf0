"""The NetworkPolicies of an identity whose own standing is unsettled: it shares its ServiceAccount
or its pods, or several trust domains may govern its namespace.
"""

from troth.planning.identity.view import View
from troth.planning.network.compiler import (
    Compiled,
    begin_closed,
    deny_all,
    keep_open,
)
from troth.planning.network.external_peers import selector
from troth.planning.network.situation import Situation
from troth.planning.owned_objects import deny_ref, policy_manifest, taken
from troth.planning.steps.objects import Apply
from troth.trust.selectors import overlap
from troth.world.world import World


def unsettled_policy(
    view: View, situation: Situation, world: World
) -> tuple[Compiled, tuple[Apply, ...]]:
    """Return the identity's policy, and the steps that must come before it is written.

    Where the pod selector was changed, the policy keeps to the pods that match the old and the new
    selector. The pods that only the new one matches are denied everything by a second policy.
    """
    if view.policy is None and world.registry.invalid_domains:
        return deny_all(view.identity), ()  # a trust domain that cannot be read may claim it too
    if view.policy is None:
        return begin_closed(situation, exceptions=_has_its_own_pods(view, world)), ()
    compiled = keep_open(situation)
    workload = view.identity.spec.workload
    if compiled.spec["podSelector"] == selector(workload.pod_selector):
        return compiled, ()
    ref = deny_ref(view.identity.ref)
    found, place = world.policies.get(ref), ("NetworkPolicy", ref)
    seen = world.foreign.get(place)
    foreign = taken(*place, found, view.identity, seen=seen, now=view.moment.now) is not None
    if foreign or place in world.refused:
        return deny_all(view.identity), ()
    denying = policy_manifest(ref, view.identity, deny_all(view.identity).spec)
    return compiled, (Apply(denying),)


def _has_its_own_pods(view: View, world: World) -> bool:
    """Say whether it is known that nobody else claims the identity's pods."""
    pods, claimants = view.identity.spec.workload.pod_selector, world.registry.claimants
    return not any(
        overlap(pods, claimants[other].spec.workload.pod_selector)
        for other in world.registry.colliding(view.identity)
    )
