"""What Troth lists and watches, if it watches all namespaces or some."""

from troth.reconcile.loop.informers import metadata_selections, selections
from troth.resources.references import Ref
from troth.trust.declarations.watched import EVERYWHERE, Watched
from troth.world.keys import METADATA_OF

OWN, SHOP, OTHER = "troth-system", "shop", "legal"
SOME = selections(OWN, rollouts=True, watched=Watched.of(OWN, [SHOP]))
CLUSTER_SCOPED = {"TrustDomain", "Namespace"}


def test_every_selection_of_namespaced_objects_is_of_one_watched_namespace() -> None:
    apart = {each.namespace for each in SOME if each.kind not in CLUSTER_SCOPED}
    assert apart == {OWN, SHOP, "default"}
    assert {each.kind for each in SOME if each.namespace == "default"} == {"EndpointSlice"}


def test_the_same_objects_of_a_watched_namespace_are_selected_in_both_modes() -> None:
    everywhere = selections(OWN, rollouts=True)
    for namespace in (OWN, SHOP):
        ref = Ref(namespace, "any")
        here, there = (
            sorted((each.watch_class, each.labels) for each in found if each.covers(ref))
            for found in (everywhere, SOME)
        )
        assert here == there


def test_nothing_of_another_namespace_is_selected() -> None:
    covering = {each.kind for each in SOME if each.covers(Ref(OTHER, "any"))}
    assert covering <= CLUSTER_SCOPED


def test_troths_own_namespace_is_always_watched() -> None:
    assert OWN in Watched.of(OWN, [SHOP])
    assert OTHER not in Watched.of(OWN, [SHOP])
    assert Watched.of(OWN, []).everywhere


def test_metadata_of_every_namespace_is_selected_if_some_are_watched() -> None:
    found = metadata_selections(Watched.of(OWN, [SHOP]))
    assert {each.kind: each.watch_class for each in found} == METADATA_OF
    assert all(each.metadata_only and each.covers(Ref(OTHER, "any")) for each in found)
    assert metadata_selections(EVERYWHERE) == ()
