"""The floor writes what Troth wrote, under names that Troth does not observe."""

import base64
import json
from typing import Any

import pytest

from benchmarks.fleet.copies import public, whole
from benchmarks.fleet.pairs import Pair
from benchmarks.fleet.topology import NAMESPACE, NEIGHBOURS, labels
from troth.planning.network.external_peers import pods_in
from troth.resources.selectors import LabelSelector

PAIR = Pair(caller=1, callee=20, identities=40)


def policy(number: int, **sides: int) -> dict[str, Any]:
    """Return a policy that allows one peer on each given side, as Troth writes it."""
    spec: dict[str, Any] = {"podSelector": {"matchLabels": labels(number)}}
    for side, peer in sides.items():
        peers = [pods_in(NAMESPACE, LabelSelector.model_validate({"matchLabels": labels(peer)}))]
        spec[side] = [{"from" if side == "ingress" else "to": peers}]
    metadata = {"name": f"s{number}-troth", "labels": {"app.kubernetes.io/managed-by": "troth"}}
    return {"kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def secret(number: int, *peers: int) -> dict[str, Any]:
    ids = [{"spiffeID": f"spiffe://bench.example/ns/bench/sa/s{peer}"} for peer in peers]
    texts = {"identity.json": json.dumps(ids), "ca.crt": "roots", "tls.key": "private"}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in texts.items()}
    metadata = {"name": f"s{number}-identity", "ownerReferences": [{"uid": "1"}]}
    return {"kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data}


LIVE = [policy(1, egress=20), policy(20, ingress=1), secret(1, 20), secret(20, 1)]
# s2, s11 and s200 are other identities with similar names
GONE = [policy(1, egress=2), policy(20, ingress=11), secret(1, 200), secret(20, 11)]


@pytest.mark.parametrize("live", [True, False])
def test_edge_is_written_when_all_four_objects_contain_it(live: bool) -> None:
    there, before = (LIVE, GONE) if live else (GONE, LIVE)
    assert PAIR.is_in(there, live=live)
    for late in range(4):
        partly = [*there[:late], before[late], *there[late + 1 :]]
        assert not PAIR.is_in(partly, live=live), late


def test_both_sides_declare_and_remove_the_edge() -> None:
    def peers(live: bool) -> set[tuple[str, int, int]]:
        bodies = [write.body for write in PAIR.declared(live=live)]
        return {
            (body["metadata"]["name"], len(body["spec"]["accepts"]), len(body["spec"]["calls"]))
            for body in bodies
        }

    ring = NEIGHBOURS
    assert peers(live=True) == {("s20", ring + 1, ring), ("s1", ring, ring + 1)}
    assert peers(live=False) == {("s20", ring, ring), ("s1", ring, ring)}


def test_copy_has_another_namespace_and_no_troth_labels() -> None:
    write = whole("NetworkPolicy", LIVE[0], namespace="floor")
    assert write.path == "/apis/networking.k8s.io/v1/namespaces/floor/networkpolicies/s1-troth"
    assert write.body["metadata"] == {"name": "s1-troth"}
    assert NAMESPACE not in json.dumps(write.body)
    assert len(json.dumps(write.body["spec"])) == len(json.dumps(LIVE[0]["spec"]))


def test_changed_secret_keeps_its_key() -> None:
    write = public(LIVE[2], namespace="floor")
    assert write.body == {
        "data": {key: LIVE[2]["data"][key] for key in ("ca.crt", "identity.json")}
    }
