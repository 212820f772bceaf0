"""What anybody may declare about an identity requeues it only if it changes."""

import pytest

from tests.builders import Manifest, accept, call, identity, key_of, namespace, shop
from tests.changed_manifests import changed

STRANGER = identity(
    "stranger",
    "tenant",
    ports=["https"],
    calls=[call("payments", namespace="shop")],
)
PAYMENTS, HOSTILE = key_of(), key_of("stranger", "tenant")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spec.enforcement", "Observe"),
        ("spec.authentication", {"token": {}}),
        ("spec.workload.podSelector", {"matchLabels": {"app": "other"}}),
        ("spec.workload.serviceAccountName", "other"),
        ("spec.calls", [call("payments", namespace="shop"), call("another")]),
        ("spec.servesWebhooks", {"allowedNamespaces": {"matchLabels": {"a": "b"}}}),
    ],
)
def test_unchanged_edge_that_is_not_accepted_requeues_nobody(path: str, value: object) -> None:
    cluster = shop(namespace("tenant", domain="production"), identity(ports=["https"]), STRANGER)
    affected = cluster.put(changed(STRANGER, path, value))
    assert HOSTILE in affected
    assert PAYMENTS not in affected


@pytest.mark.parametrize("sharing", [False, True])
def test_accepted_caller_requeues_its_callee(*, sharing: bool) -> None:
    mine = identity(ports=["https"], accepts=[accept("stranger", namespace="tenant")])
    cluster = shop(namespace("tenant", domain="production"), mine, STRANGER)
    other: Manifest = (
        identity("twin", "tenant", account="stranger")
        if sharing
        else changed(STRANGER, "spec.workload.serviceAccountName", "other")
    )
    assert PAYMENTS in cluster.put(other)


def test_edge_that_is_not_accepted_requeues_its_callee_if_it_comes_or_goes() -> None:
    cluster = shop(identity(ports=["https"]))
    assert PAYMENTS in cluster.put(STRANGER)
    assert PAYMENTS in cluster.put(changed(STRANGER, "spec.calls", []))
    assert PAYMENTS in cluster.put(STRANGER)
    assert PAYMENTS in cluster.drop("ServiceIdentity", HOSTILE.ref)
