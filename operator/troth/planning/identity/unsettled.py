"""The NetworkPolicies of an unsettled identity.

An identity is unsettled if it shares its ServiceAccount or its pods with another, or if several
trust domains may govern its namespace.
"""

from troth.planning.identity.facts import View
from troth.planning.network.compiler import (
    Compiled,
    begin_closed,
    deny_all,
    keep_open,
)
from troth.planning.network.external_peers import selector
from troth.planning.network.policy_inputs import PolicyInputs
from troth.planning.owned_objects import policy_manifest, taken
from troth.planning.steps.objects import Apply


def unsettled_policy(view: View, situation: PolicyInputs) -> tuple[Compiled, tuple[Apply, ...]]:
    """Return the identity's policy, and the steps that must precede its write.

    If the pod selector has changed, the policy selects only the pods that match the old and the new
    selector. A second policy denies everything to the pods that only the new selector matches.
    """
    if view.policy is None and view.governance.unread:
        return deny_all(view.identity), ()  # an unreadable trust domain may claim the namespace too
    if view.policy is None:
        return begin_closed(situation, exceptions=not view.registry.shares_pods(view.identity)), ()
    compiled = keep_open(situation)
    workload = view.identity.spec.workload
    if compiled.spec["podSelector"] == selector(workload.pod_selector):
        return compiled, ()
    deny, conflict = view.deny, taken(view.deny, view.identity, view.moment.now)
    if conflict is not None or deny.write_fault is not None:
        return deny_all(view.identity), ()
    denying = policy_manifest(deny.ref, view.identity, deny_all(view.identity).spec)
    return compiled, (Apply(denying),)
