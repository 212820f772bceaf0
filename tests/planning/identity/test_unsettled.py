"""Identities that begin in conflict, and pod selectors that change during one."""

import copy

import pytest

from tests import builders
from tests.builders import NOW, Cluster, Manifest, call, domain, identity, unverified
from tests.networkpolicy import Network, Pod
from tests.planning.test_suspended_edges import (
    BOTH,
    CALLER,
    RIVAL,
    USURPER,
    after,
    callee,
    conflicts,
    live,
    opened,
    policy_of,
)
from troth.resources.references import Ref
from troth.world.outcomes.writes import ForeignFound, WriteRefused

# Identities that begin in conflict


@conflicts
def test_identity_that_begins_in_conflict_is_denied_all_but_the_resolver(
    conflict: Manifest,
) -> None:
    cluster = builders.shop(conflict, callee(*BOTH, accepts=[unverified("https", cidrs=["::/0"])]))
    after(cluster, CALLER)
    spec = policy_of(cluster, "a")["spec"]
    assert spec["podSelector"] == {"matchLabels": {"app": "a"}}
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert "ingress" not in spec
    assert opened(cluster, "a", "egress") == {str({"k8s-app": "kube-dns"}): [53, 53]}


def test_deleted_policy_of_an_identity_in_conflict_becomes_default_deny() -> None:
    cluster = after(live(), RIVAL)
    cluster.drop("NetworkPolicy", Ref("shop", "a-troth"))
    assert opened(cluster.settle()) == {}


NODES = {"probes": {"cidrs": ["10.0.0.0/24"]}}


@pytest.mark.parametrize(
    ("rival", "found"),
    [
        (RIVAL, {"10.0.0.0/24": [8443]}),
        (identity("rival", pods={"matchLabels": {"tier": "x"}}), {}),
    ],
    ids=["its own pods", "pods that somebody else claims"],
)
def test_probes_are_open_to_an_identity_in_conflict_that_has_its_own_pods(
    rival: Manifest, found: dict[str, list[int]]
) -> None:
    probed = callee(*BOTH, exceptions={"probes": ["https"]})
    cluster = builders.shop(rival, probed)
    assert opened(after(cluster, domain(network=NODES))) == found


def test_exceptions_are_those_that_every_claiming_domain_describes() -> None:
    dns = {"namespace": "dns", "podSelector": {"matchLabels": {"app": "dns"}}, "port": 53}
    rival = copy.deepcopy(USURPER)
    rival["spec"]["network"] = {"probes": {"cidrs": ["10.0.0.0/24", "10.9.0.0/24"]}, "dns": dns}
    cluster = builders.shop(rival, callee(*BOTH, exceptions={"probes": ["https"]}))
    network = {"probes": {"cidrs": ["10.0.0.0/24", "10.8.0.0/24"]}}
    after(cluster, domain(network=network))
    assert opened(cluster) == {"10.0.0.0/24": [8443]}
    assert opened(cluster, "a", "egress") == {}


def test_conflict_writes_nothing_in_observe_mode_or_over_foreign_policies() -> None:
    cluster = builders.shop(RIVAL, callee(*BOTH, enforcement="Observe")).settle()
    assert ("NetworkPolicy", Ref("shop", "a-troth")) not in cluster.objects
    cluster = builders.shop(RIVAL, callee(*BOTH))
    cluster.world.observe_outcome(ForeignFound("NetworkPolicy", Ref("shop", "a-troth"), NOW))
    assert ("NetworkPolicy", Ref("shop", "a-troth")) not in cluster.settle().objects


def test_identity_that_leaves_its_conflict_gets_all_declared_edges() -> None:
    cluster = builders.shop(RIVAL, callee(*BOTH), CALLER).settle()
    assert opened(cluster) == {}
    cluster.drop("ServiceIdentity", Ref("shop", "rival"))
    assert opened(cluster.settle()) == {"c": [8443, 9443]}


# A pod selector that changes during a conflict

DENY = "NetworkPolicy", Ref("shop", "a-troth-deny")


A_OR_Z = {"key": "app", "operator": "In", "values": ["a", "z"]}
OVERLAPPING = callee(*BOTH, pods={"matchLabels": {"tier": "web"}, "matchExpressions": [A_OR_Z]})
"""The callee with a selector that shares some of its pods with the previous one."""


def selecting(**labels: str) -> Manifest:
    return callee(*BOTH, pods={"matchLabels": labels})


def reached(cluster: Cluster, *, caller: Manifest | None = None, **labels: str) -> str:
    spaces = {"shop": {"kubernetes.io/metadata.name": "shop"}}
    network = Network(spaces, tuple(cluster.policies()))
    pod = Pod("shop", labels, "10.0.0.1")
    source = Pod("shop", caller or {"app": "c"}, "10.0.0.2")
    if not network.isolated(pod, "Ingress"):
        return "not enrolled"
    return "open" if network.lets(source, pod, 8443, "TCP") else "denied"


def test_pods_of_both_selectors_stay_open_and_newly_selected_are_denied() -> None:
    cluster = after(live(), RIVAL, OVERLAPPING)
    assert reached(cluster, app="a", tier="web") == "open"
    assert reached(cluster, app="z", tier="web") == "denied"
    assert reached(cluster, app="a") == "not enrolled"
    assert cluster.objects[DENY]["spec"] == {
        "podSelector": OVERLAPPING["spec"]["workload"]["podSelector"],
        "policyTypes": ["Ingress", "Egress"],
    }
    cluster.drop("ServiceIdentity", Ref("shop", "rival"))
    assert reached(cluster.settle(), app="z", tier="web") == "open"
    assert DENY not in cluster.objects


def test_narrowed_selector_needs_no_second_policy() -> None:
    cluster = after(live(), RIVAL, selecting(app="a", tier="web"))
    assert reached(cluster, app="a", tier="web") == "open"
    assert DENY not in cluster.objects


def test_selector_that_matches_other_pods_only_denies_them() -> None:
    cluster = after(live(), RIVAL, selecting(app="other"))
    assert reached(cluster, app="other") == "denied"
    assert DENY not in cluster.objects
    assert policy_of(cluster, "a")["spec"] == {
        "podSelector": {"matchLabels": {"app": "other"}},
        "policyTypes": ["Ingress", "Egress"],
    }


@pytest.mark.parametrize("why", ["foreign", "refused"])
def test_selector_closes_everything_if_the_second_policy_is_impossible(why: str) -> None:
    cluster = after(live(), RIVAL)
    if why == "foreign":
        cluster.world.observe_outcome(ForeignFound(*DENY, NOW))
    else:
        cluster.world.observe_outcome(WriteRefused(*DENY, "exceeded quota", passing=False))
    after(cluster, OVERLAPPING)
    assert reached(cluster, app="a", tier="web") == "denied"
    assert reached(cluster, app="z", tier="web") == "denied"


def test_rule_that_excludes_the_old_pods_stays_while_the_selector_changes() -> None:
    """An unverified entry excludes the pods of the workload itself if it covers them."""
    visitors = unverified("https", podSelector={"matchLabels": {"role": "visitor"}})
    cluster = after(builders.shop(callee(*BOTH, accepts=[visitors]), CALLER).settle(), RIVAL)
    changed = copy.deepcopy(OVERLAPPING)
    changed["spec"]["accepts"].append(visitors)
    after(cluster, changed)
    visitor = {"app": "x", "role": "visitor"}
    assert reached(cluster, caller=visitor, app="a", tier="web") == "open"
    assert reached(cluster, caller=visitor, app="z", tier="web") == "denied"
    after(cluster, OVERLAPPING)
    assert reached(cluster, caller=visitor, app="a", tier="web") == "denied"


def test_second_policy_is_deleted_in_observe_mode() -> None:
    cluster = after(live(), RIVAL, OVERLAPPING)
    observing = copy.deepcopy(OVERLAPPING)
    observing["spec"]["enforcement"] = "Observe"
    after(cluster, observing)
    assert [each["metadata"]["name"] for each in cluster.policies()] == ["c-troth", "rival-troth"]


def test_second_policy_is_restored() -> None:
    cluster = after(live(), RIVAL, OVERLAPPING)
    cluster.drop(*DENY)
    assert reached(cluster.settle(), app="z", tier="web") == "denied"
    by_hand = copy.deepcopy(cluster.objects[DENY])
    by_hand["spec"]["ingress"] = [{}]
    cluster.put(by_hand)
    assert reached(cluster.settle(), app="z", tier="web") == "denied"


def test_selector_of_a_suspended_caller_keeps_the_pods_of_both() -> None:
    cluster = after(live(), identity("rival", account="c"))
    changed = identity("c", calls=[call("a", *BOTH)], pods={"matchLabels": {"tier": "web"}})
    after(cluster, changed)
    assert reached(cluster, caller={"app": "c", "tier": "web"}, app="a") == "open"
    assert reached(cluster, caller={"tier": "web"}, app="a") == "denied"
    assert reached(cluster, caller={"app": "c"}, app="a") == "denied"
