"""The policies of Troth: those that a cluster has, or in files those that Troth would write."""

from collections.abc import Iterator

from troth.audit.network.enforced import enforced_spec
from troth.audit.network.policies import Policy, policy
from troth.audit.network.reach import Network
from troth.audit.scene import Scene
from troth.planning.owned_objects import broker_policy_ref, deny_ref, policy_ref
from troth.planning.steps.objects import Apply
from troth.planning.trust_domain.isolation import plan_isolation
from troth.planning.trust_domain.view import gather_isolation
from troth.resources.identity.spec import Enforcement
from troth.resources.references import Ref
from troth.world.facts.objects import ISOLATION_POLICY, MANAGED_BY, Manifest
from troth.world.reader import Reader


def network_of(scene: Scene) -> Network:
    """Return the network of a scene, with Troth's policies and those of others."""
    read = map(_readable, scene.objects("NetworkPolicy"))
    found = {each.ref: each for each in read if each is not None}
    own = {ref for ref in found if is_own(scene, ref)}
    if not scene.in_cluster:
        for ref, spec in compiled(scene):
            found[ref] = policy({"metadata": ref._asdict(), "spec": spec})
            own.add(ref)
    labels = {name: scene.labels_of_namespace(name) for name in scene.namespaces()}
    return Network(scene.parties(), tuple(found.values()), own, labels)


def _readable(manifest: Manifest) -> Policy | None:
    """Return a NetworkPolicy, None for one in a file that the API server would reject."""
    try:
        return policy(manifest)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def is_own(scene: Scene, ref: Ref) -> bool:
    """Return whether a NetworkPolicy is Troth's: it has the label, and a name that Troth writes.

    The label alone says nothing, because everybody can set it. Troth restores a policy that has
    both if somebody changes it.
    """
    manifest = scene.object("NetworkPolicy", ref) or {}
    labels = manifest.get("metadata", {}).get("labels") or {}
    return labels.get(MANAGED_BY) == "troth" and ref in scene.derived(
        ref.namespace, "names of policies", lambda: frozenset(_names(scene, ref.namespace))
    )


def _names(scene: Scene, namespace: str) -> Iterator[Ref]:
    yield Ref(namespace, ISOLATION_POLICY)
    for identity in scene.world.registry.claimants_in(namespace):
        yield policy_ref(identity)
        yield deny_ref(identity)
    for broker in scene.world.brokers.messaging.brokers:
        if broker.namespace == namespace:
            yield broker_policy_ref(broker)


def compiled(scene: Scene) -> Iterator[tuple[Ref, Manifest]]:
    """Yield the specs that Troth would write for identities and the isolation of namespaces."""
    world = scene.world
    for name, domain in sorted(world.registry.domains.items()):
        isolated = plan_isolation(domain, gather_isolation(name, Reader(world)), scene.now)
        for error in isolated.errors:
            raise error
        for step in isolated.steps:
            if isinstance(step, Apply):
                yield Ref.of(step.manifest), step.manifest["spec"]
    for ref, identity in sorted(world.registry.identities.items()):
        if identity.spec.enforcement is not Enforcement.ENFORCE:
            continue
        spec = enforced_spec(scene, identity)
        if spec is not None:
            yield policy_ref(ref), spec
