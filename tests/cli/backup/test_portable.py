"""What a backup has of each object, and in which order it is restored."""

from typing import Any

import pytest

from tests import builders
from troth.cli.backup.portable import in_order, is_restorable, is_unobserved, place_of, portable
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY

OWNER = {
    "apiVersion": "troth.dev/v1alpha1",
    "kind": "ServiceIdentity",
    "name": "payments",
    "uid": "1",
    "controller": True,
}


def stored(manifest: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """Return an object as a cluster has it."""
    of_cluster = {"uid": "u", "resourceVersion": "7", "generation": 3, "finalizers": ["a/b"]}
    return {**manifest, "metadata": {**manifest["metadata"], **of_cluster, **metadata}}


def secret(name: str, **metadata: Any) -> dict[str, Any]:
    labels = {MANAGED_BY: "troth"}
    manifest = {
        "kind": "Secret",
        "metadata": {"name": name, "namespace": "shop", "labels": labels},
        "type": "kubernetes.io/tls",
        "data": {"tls.key": "a2V5"},
    }
    return stored(manifest, **metadata)


def test_backup_has_nothing_that_belongs_to_one_cluster() -> None:
    kept = portable(secret("payments-identity", ownerReferences=[OWNER], managedFields=[{}]))
    assert kept == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "payments-identity",
            "namespace": "shop",
            "labels": {MANAGED_BY: "troth"},
            "ownerReferences": [{name: OWNER[name] for name in OWNER if name != "uid"}],
        },
        "type": "kubernetes.io/tls",
        "data": {"tls.key": "a2V5"},
    }


def test_status_is_kept_and_says_that_nobody_has_observed_the_resource() -> None:
    ready = {"type": "Ready", "status": "True", "observedGeneration": 3}
    status = {"observedGeneration": 3, "conditions": [ready], "gatewayTrustedSince": "2026-01-01"}
    kept = portable(stored({**builders.identity("payments"), "status": status}))
    assert kept["status"]["gatewayTrustedSince"] == "2026-01-01"
    assert is_unobserved(kept)
    assert [each["observedGeneration"] for each in kept["status"]["conditions"]] == [0]


def test_status_that_troth_never_wrote_is_left_out() -> None:
    bare = stored({**builders.identity("payments"), "status": {"observedGeneration": -1}})
    assert "status" not in portable(bare)


def test_portable_objects_stay_as_they_are() -> None:
    ready = {"type": "Ready", "status": "True", "observedGeneration": 3}
    status = {"observedGeneration": 3, "conditions": [ready]}
    for each in (
        secret("payments-identity", ownerReferences=[OWNER]),
        stored(
            {**builders.identity("payments"), "status": status}, managedFields=[{"manager": "a"}]
        ),
        stored(builders.namespace("shop")),
    ):
        assert portable(portable(each)) == portable(each)


def test_only_objects_that_troth_wrote_are_restored() -> None:
    assert is_restorable(secret("payments-identity"))
    assert is_restorable(builders.identity("payments"))
    assert is_restorable(builders.namespace("shop"))
    assert not is_restorable(secret("payments-identity", labels={}))
    assert not is_restorable({**builders.identity("payments"), "apiVersion": "other.dev/v1"})
    assert not is_restorable({"kind": "Deployment", "metadata": {"name": "a"}})


def test_roots_come_before_trust_domains_and_owned_secrets_after_their_owners() -> None:
    ledger = {**secret("troth-ledger-shop.main"), "kind": "ConfigMap"}
    leaf = secret("payments-identity", ownerReferences=[OWNER])
    mixed = [leaf, builders.identity("payments"), builders.domain(), ledger]
    mixed += [secret("production-authority"), builders.namespace("shop")]
    assert [place_of(each) for each in in_order(mixed)] == [
        ("Namespace", Ref("", "shop")),
        ("Secret", Ref("shop", "production-authority")),
        ("ConfigMap", Ref("shop", "troth-ledger-shop.main")),
        ("TrustDomain", Ref("", "production")),
        ("ServiceIdentity", Ref("shop", "payments")),
        ("Secret", Ref("shop", "payments-identity")),
    ]


def test_older_trust_domain_comes_first() -> None:
    """The older of two TrustDomains with one `spec.domain` has it, then the smaller name."""
    newer, older = (stored(builders.domain(name)) for name in ("a", "b"))
    newer["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    older["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    assert in_order([newer, older]) == [older, newer]


@pytest.mark.parametrize(
    ("changed", "restorable"),
    [
        ({}, True),
        ({"type": "kubernetes.io/tls"}, True),
        ({"type": "troth.dev/broker-credential"}, True),
        ({"type": "bootstrap.kubernetes.io/token"}, False),
        ({"type": "kubernetes.io/service-account-token"}, False),
        ({"apiVersion": "evil/v9"}, False),
    ],
)
def test_secret_that_troth_cannot_have_written_is_not_restored(
    changed: dict[str, str], *, restorable: bool
) -> None:
    labels = {"app.kubernetes.io/managed-by": "troth"}
    metadata = {"name": "a", "namespace": "kube-system", "labels": labels}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    assert is_restorable(secret | changed) is restorable
