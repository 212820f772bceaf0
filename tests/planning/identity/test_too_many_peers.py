"""An identity whose peers do not fit into its Secret: none is added, and revocations take effect."""

import json
from typing import Any

import pytest

from tests import builders
from tests.builders import Cluster, accept, call, identity, key_of, shop
from troth.planning.identity import secret_manifest
from troth.resources.references import Ref
from troth.world.observation.objects import decoded

SECRET = "Secret", Ref("shop", "gateway-identity")
LIMIT = 1_048_576
"""Limit of the API server for the data of a Secret, in bytes."""


def peers(cluster: Cluster) -> set[str]:
    document: dict[str, Any] = json.loads(decoded(cluster.objects[SECRET])["identity.json"])
    return {each["spiffeID"].split("/")[-1] for each in document["calls"]}


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


def test_limit_of_peers_is_below_that_of_a_secret() -> None:
    """Each edge takes at most 1,600 bytes, so the uncounted ones always fit."""
    cluster = shop(target("t"), gateway("t")).settle()
    one = sum(map(len, cluster.world.secrets[SECRET[1]].public.values()))
    assert secret_manifest.ALWAYS_FIT * 1_600 + one < secret_manifest.MOST < LIMIT - 100_000
