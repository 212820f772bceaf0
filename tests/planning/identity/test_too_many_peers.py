"""Peers that do not fit into an identity's Secret: none is added, and revocations take effect."""

import json
import re
from typing import Any

import pytest

from tests import builders
from tests.builders import Cluster, accept, call, identity, key_of, shop
from tests.messaging import broker, consumer, policy, producer
from troth.planning.identity.secret import manifest as secret_manifest
from troth.planning.network import compiler, live_peers
from troth.planning.network.compiler import Compiled
from troth.planning.network.live_peers import PeerList
from troth.resources.references import Ref
from troth.world.facts.objects import canonical
from troth.world.observation.objects import decoded

SECRET = "Secret", Ref("shop", "gateway-identity")
LIMIT = 1_048_576
"""Limit of the API server for the data of a Secret, in bytes."""


def peers(cluster: Cluster) -> set[str]:
    document: dict[str, Any] = json.loads(decoded(cluster.objects[SECRET])["identity.json"])
    return {each["spiffeID"].split("/")[-1] for each in document["calls"]}


def producers(cluster: Cluster) -> list[set[str]]:
    """Return the producers that the entry of each group lists."""
    document: dict[str, Any] = json.loads(decoded(cluster.objects[SECRET])["identity.json"])
    entries = document.get("messages", [])
    return [{each.split("/")[-1] for each in entry["producers"]} for entry in entries]


def gateway(*targets: str) -> builders.Manifest:
    return identity("gateway", calls=[call(each) for each in targets])


def target(name: str) -> builders.Manifest:
    return identity(name, ports=["https"], accepts=[accept("gateway")])


def test_peers_that_do_not_fit_are_not_added_and_revocations_take_effect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"target-{number}" for number in range(6)]
    cluster = shop(*map(target, names), gateway(*names[:4])).settle()
    size = sum(map(len, cluster.world.secrets[SECRET[1]].public.values()))
    monkeypatch.setattr(secret_manifest, "ALWAYS_FIT", 1)
    monkeypatch.setattr(secret_manifest, "MOST", size)
    assert peers(cluster) == set(names[:4])
    cluster.put(gateway(*names[1:]))
    cluster.settle()
    assert peers(cluster) == set(names[1:4])
    issued = cluster.condition(key_of("gateway"), "CertificateIssued")
    assert (issued["status"], issued["reason"]) == ("False", "TooManyPeers")
    cluster.put(gateway(*names[2:]))
    assert peers(cluster.settle()) == set(names[2:])
    assert cluster.condition(key_of("gateway"), "CertificateIssued")["status"] == "True"


def test_peer_whose_scopes_do_not_fit_is_not_added_and_revocations_take_effect() -> None:
    ports = [f"port-{number}" for number in range(16)]

    def payments(*accepts: builders.Manifest) -> builders.Manifest:
        numbered = [(port, 8000 + number) for number, port in enumerate(ports)]
        return identity("payments", ports=numbered, accepts=list(accepts))

    def granted(entry: int) -> builders.Manifest:
        scopes = [f"{entry}.{number}.".ljust(128, "x") for number in range(32)]
        return accept("reader", *ports, scopes=scopes)

    callers = [
        identity(name, calls=[call("payments", *ports)]) for name in ("web", "batch", "reader")
    ]
    few = accept("web", *ports), accept("batch", *ports)
    cluster = shop(payments(*few), *callers).settle()
    cluster.put(payments(few[0], *map(granted, range(20))))
    cluster.settle()
    secret = "Secret", Ref("shop", "payments-identity")
    document = json.loads(decoded(cluster.objects[secret])["identity.json"])
    assert [each["spiffeID"].split("/")[-1] for each in document["accepts"]] == ["web"]
    assert cluster.condition(key_of(), "CertificateIssued")["reason"] == "TooManyPeers"


def test_producers_that_do_not_fit_are_not_added_and_revocations_take_effect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each group of a consumer lists all producers, so few groups of a topic take much room."""
    names = [f"producer-{number}" for number in range(8)]
    publishing = [identity(name, publishes=[{"policy": {"name": "orders"}}]) for name in names]

    def orders(*producers: str) -> builders.Manifest:
        groups = [consumer("gateway", f"group-{number}") for number in range(8)]
        return policy(producers=map(producer, producers), consumers=groups)

    reader = identity("gateway", consumes=[{"policy": {"name": "orders"}}])
    cluster = shop(broker(), orders(*names[:7]), reader, *publishing).settle()
    size = sum(map(len, cluster.world.secrets[SECRET[1]].public.values()))
    monkeypatch.setattr(secret_manifest, "MOST", size)
    assert producers(cluster) == [set(names[:7])] * 8
    cluster.put(orders(*names[1:], names[0]))
    cluster.settle()
    assert producers(cluster) == [set(names[:7])] * 8
    issued = cluster.condition(key_of("gateway"), "CertificateIssued")
    assert (issued["status"], issued["reason"]) == ("False", "TooManyPeers")
    cluster.put(orders(*names[1:]))
    assert producers(cluster.settle()) == [set(names[1:])] * 8
    assert cluster.condition(key_of("gateway"), "CertificateIssued")["status"] == "True"


def test_tenants_that_do_not_fit_are_not_added() -> None:
    """A few policies can name many long tenants, so they count like peers."""
    tenants = [f"{number:02}".ljust(256, "\U0001f6d2") for number in range(64)]
    names = [f"p{number:02}" for number in range(20)]
    policies = [
        policy(
            name,
            topic={"name": f"prod.{name}"},
            consumers=[consumer("gateway", "g") | {"tenants": tenants}],
            context={"require": ["Tenant"]},
        )
        for name in names
    ]

    def reader(count: int) -> builders.Manifest:
        return identity("gateway", consumes=[{"policy": {"name": each}} for each in names[:count]])

    cluster = shop(broker(), *policies, reader(2)).settle()
    assert len(producers(cluster)) == 2
    cluster.put(reader(20))
    cluster.settle()
    assert len(producers(cluster)) == 2
    issued = cluster.condition(key_of("gateway"), "CertificateIssued")
    assert (issued["status"], issued["reason"]) == ("False", "TooManyPeers")


def test_limit_of_peers_is_below_that_of_a_secret() -> None:
    """Each edge takes at most 1,600 bytes, so the uncounted ones always fit."""
    cluster = shop(target("t"), gateway("t")).settle()
    one = sum(map(len, cluster.world.secrets[SECRET[1]].public.values()))
    assert secret_manifest.ALWAYS_FIT * 1_600 + one < secret_manifest.MOST < LIMIT - 100_000


def test_policy_that_does_not_fit_opens_no_new_peer_and_closes_revoked_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"target-{number}" for number in range(6)]
    cluster = shop(*map(target, names), gateway(*names[:4])).settle()
    place = Ref("shop", "gateway-troth")
    monkeypatch.setattr(live_peers, "LIMIT", len(cluster.world.policies[place].live_peers))
    assert opened(cluster) == set(names[:4])
    cluster.put(gateway(*names[1:]))
    cluster.settle()
    assert opened(cluster) == set(names[1:4])
    network = cluster.condition(key_of("gateway"), "NetworkEnforced")
    assert (network["status"], network["reason"]) == ("False", "TooManyPeers")
    cluster.put(gateway(*names[2:]))
    assert opened(cluster.settle()) == set(names[2:])
    assert cluster.condition(key_of("gateway"), "NetworkEnforced")["status"] == "True"


def test_policy_of_an_unsettled_workload_opens_nothing_to_its_new_pods(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"target-{number}" for number in range(4)]
    cluster = shop(*map(target, names), gateway(*names)).settle()
    place = "NetworkPolicy", Ref("shop", "gateway-troth")
    before = cluster.objects[place]["spec"]["podSelector"]
    monkeypatch.setattr(live_peers, "LIMIT", 1)
    changed = gateway(*names)
    changed["spec"]["workload"]["podSelector"] = {"matchLabels": {"tier": "edge"}}
    everywhere = {"matchLabels": {"domain": "production"}}
    cluster.put(builders.domain("rival", namespaceSelector=everywhere))
    cluster.put(changed)
    cluster.settle()
    assert cluster.condition(key_of("gateway"), "NetworkEnforced")["reason"] == "NamespaceOverlap"
    selected = cluster.objects[place]["spec"]["podSelector"]["matchLabels"]
    assert selected == {**before["matchLabels"], "tier": "edge"}


@pytest.mark.parametrize(
    "compiled",
    [
        Compiled({"podSelector": {}}, PeerList(is_complete=False)),
        Compiled({"podSelector": {}, "egress": [{"to": ["x" * 180]}] * 8_000}),
    ],
)
def test_policy_that_the_api_server_would_refuse_overflows(compiled: Compiled) -> None:
    assert compiled.overflows
    assert not Compiled({"podSelector": {}, "egress": [{"to": ["x" * 180]}] * 4_000}).overflows


def test_rules_that_are_not_counted_fit() -> None:
    key, value = f"{'d' * 253}/{'k' * 63}", "v" * 63
    pods = {
        "matchLabels": {"app": value}
        | {f"{'d' * 253}/{number:063}": value for number in range(15)},
        "matchExpressions": [{"key": key, "operator": "NotIn", "values": [value] * 8}] * 8,
    }
    ports = [(f"p{number:014}", 60_000 + number) for number in range(16)]
    there = identity("p" * 63, ports=ports, accepts=[accept("gateway", *dict(ports))], pods=pods)
    cluster = shop(there, identity("gateway", calls=[call("p" * 63, *dict(ports))])).settle()
    *_, rule = cluster.objects["NetworkPolicy", Ref("shop", "gateway-troth")]["spec"]["egress"]
    size = len(canonical(rule))
    assert 10_000 < size < 15_000
    assert compiler.ALWAYS_FIT * 15_000 <= compiler.MOST


def opened(cluster: Cluster) -> set[str]:
    spec = cluster.objects["NetworkPolicy", Ref("shop", "gateway-troth")]["spec"]
    return set(re.findall(r"target-\d", json.dumps(spec["egress"])))
