"""An unverified peer matches its description, but never the workload itself."""

from itertools import product
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.builders import identity, parsed_identity, unverified
from tests.networkpolicy import Network, Pod, selects
from tests.strategies import more
from troth.planning.network.external_peers import collectors, unverified_peers
from troth.resources.identity.peers import Unverified
from troth.resources.selectors import LabelSelector

Manifest = dict[str, Any]

KEYS, VALUES = ("app", "tier"), ("a", "b")
SPACES = {
    "shop": {"kubernetes.io/metadata.name": "shop", "team": "a"},
    "till": {"kubernetes.io/metadata.name": "till", "team": "b"},
}
PODS = [
    {key: value for key, value in zip(KEYS, chosen, strict=True) if value}
    for chosen in product((*VALUES, "c", None), repeat=2)
]


@st.composite
def selectors(draw: st.DrawFn, keys: tuple[str, ...] = KEYS) -> Manifest:
    values = st.sampled_from(VALUES)
    labels = draw(st.dictionaries(st.sampled_from(keys), values, max_size=2))
    asked = draw(
        st.lists(
            st.one_of(
                st.fixed_dictionaries(
                    {
                        "key": st.sampled_from(keys),
                        "operator": st.sampled_from(("In", "NotIn")),
                        "values": st.lists(values, min_size=1, max_size=2, unique=True),
                    }
                ),
                st.fixed_dictionaries(
                    {
                        "key": st.sampled_from(keys),
                        "operator": st.sampled_from(("Exists", "DoesNotExist")),
                    }
                ),
            ),
            min_size=0 if labels else 1,
            max_size=2,
        )
    )
    return ({"matchLabels": labels} if labels else {}) | (
        {"matchExpressions": asked} if asked else {}
    )


def let_in(peers: list[Manifest], pod: Pod) -> bool:
    policy = {
        "metadata": {"namespace": "shop", "name": "it"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": peers}]},
    }
    network = Network(SPACES, (policy,) if peers else ())
    return bool(peers) and network.allows("Ingress", Pod("shop", {}, "10.0.0.1"), pod, 80, "TCP")


def others(own: Manifest, namespace: str, labels: dict[str, str]) -> bool:
    return namespace != "shop" or not selects(own, labels)


namespaces = selectors(("team", "kubernetes.io/metadata.name"))


@more(2)
@given(selectors(), st.none() | namespaces, st.none() | selectors())
def test_exactly_the_described_peers_match_except_the_workloads_own_pods(
    own: Manifest, spaces: Manifest | None, pods: Manifest | None
) -> None:
    if spaces is None and pods is None:
        return
    described = {"namespaceSelector": spaces} if spaces else {}
    described |= {"podSelector": pods} if pods else {}
    me = parsed_identity(identity(pods=own, ports=["https"], accepts=[unverified(**described)]))
    declared = me.spec.accepts[0].unverified
    assert isinstance(declared, Unverified)
    peers = list(unverified_peers(me, declared))
    for namespace, labels in product(SPACES, PODS):
        there = selects(spaces, SPACES[namespace]) if spaces else namespace == "shop"
        meant = there and selects(pods or {}, labels) and others(own, namespace, labels)
        assert let_in(peers, Pod(namespace, labels, "10.0.0.2")) == meant, (namespace, labels)


@more(1)
@given(selectors(), selectors(), st.sampled_from(sorted(SPACES)))
def test_metrics_collector_never_matches_the_workload_itself(
    own: Manifest, pods: Manifest, where: str
) -> None:
    me = parsed_identity(identity(pods=own))
    peers = list(collectors(me, where, LabelSelector.model_validate(pods)))
    for namespace, labels in product(SPACES, PODS):
        meant = namespace == where and selects(pods, labels) and others(own, namespace, labels)
        assert let_in(peers, Pod(namespace, labels, "10.0.0.2")) == meant, (namespace, labels)


def test_description_that_excludes_the_workload_is_compiled_unchanged() -> None:
    ingress = {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}
    me = parsed_identity(identity(ports=["https"], accepts=[unverified(namespaceSelector=ingress)]))
    declared = me.spec.accepts[0].unverified
    assert isinstance(declared, Unverified)
    assert list(unverified_peers(me, declared)) == [{"namespaceSelector": ingress}]
