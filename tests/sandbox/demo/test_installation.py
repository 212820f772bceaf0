"""What the demo installs on a cluster that exists already, on a real API server."""

from collections.abc import Iterator

import pytest

from sandbox import Sandbox
from sandbox.demo import namespaces
from sandbox.demo.existing import objects
from sandbox.demo.namespaces import MARK
from tests.cluster.conftest import separate_sandbox
from tests.sandbox.demo.test_existing_cluster import PREFIX, everything
from tests.sandbox.observing import becomes
from troth.cluster.leases.claim import CLAIM

IN_NAMESPACES = "roles,rolebindings,leases"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Sandbox]:
    yield from separate_sandbox()


def marked(cluster: Sandbox, namespace: str) -> set[str]:
    """Return the demo's roles, bindings and Leases in a namespace of the cluster."""
    found = ("get", IN_NAMESPACES, "--namespace", namespace, "--selector", MARK, "--output=name")
    return set(cluster.kubectl(*found).split())


def test_all_that_is_installed_is_removed(
    cluster: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces, "PREFIX", PREFIX)
    before = everything(cluster)
    objects.install(cluster)
    assert marked(cluster, CLAIM.namespace) == {
        f"lease.coordination.k8s.io/{CLAIM.name}",
        f"role.rbac.authorization.k8s.io/{PREFIX}claim",
        f"rolebinding.rbac.authorization.k8s.io/{PREFIX}claim",
    }
    assert objects.has_remains(cluster)
    assert objects.remove(cluster)
    assert becomes(lambda: everything(cluster) == before), everything(cluster) ^ before
    assert not marked(cluster, CLAIM.namespace)
