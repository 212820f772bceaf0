"""examples/rotation: the API server accepts it, and its RBAC separates duties as documented."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from tests.chart.rendering import CHART, NAMESPACE, REPOSITORY
from tests.cluster import test_chart
from tests.cluster.command import troth
from tests.cluster.conftest import await_crds, separate_sandbox

SHOP, ROTATION = (REPOSITORY / "examples" / name for name in ("shop", "rotation"))
TEAM, SECURITY = "payments-team", "security"
IDENTITIES, ROTATIONS = "serviceidentities.troth.dev", "credentialrotations.troth.dev"
WRITING = ("create", "update", "patch", "delete")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    yield from separate_sandbox()


@pytest.fixture(scope="module")
def applied(sandbox: Sandbox) -> Sandbox:
    sandbox.helm("install", "troth", str(CHART), "-n", NAMESPACE, "--create-namespace")
    await_crds(sandbox)
    for folder in (SHOP, ROTATION):
        sandbox.kubectl("apply", "--validate=strict", "-f", str(folder))
    return sandbox


def may(sandbox: Sandbox, group: str, *what: str) -> bool:
    return test_chart.may(sandbox, "ann", f"--as-group={group}", *what)


@pytest.mark.parametrize("verb", WRITING)
def test_team_writes_identities_and_security_does_not(applied: Sandbox, verb: str) -> None:
    assert may(applied, TEAM, verb, IDENTITIES, "-n", "shop")
    assert not may(applied, SECURITY, verb, IDENTITIES, "-n", "shop")


@pytest.mark.parametrize("verb", WRITING)
def test_security_writes_rotations_and_team_does_not(applied: Sandbox, verb: str) -> None:
    for namespace in ("shop", NAMESPACE):
        assert may(applied, SECURITY, verb, ROTATIONS, "-n", namespace)
        assert not may(applied, TEAM, verb, ROTATIONS, "-n", namespace)
    assert not may(applied, SECURITY, verb, ROTATIONS, "-n", "finance")


def test_each_role_reads_what_the_other_declares(applied: Sandbox) -> None:
    assert may(applied, TEAM, "get", ROTATIONS, "-n", "shop")
    assert may(applied, SECURITY, "list", IDENTITIES, "-A")
    assert may(applied, SECURITY, "get", "trustdomains.troth.dev")
    assert not may(applied, SECURITY, "get", "secrets", "-n", "shop")
    assert not may(applied, SECURITY, "get", "secrets", "-n", NAMESPACE)


def test_neither_role_writes_a_trust_domain(applied: Sandbox) -> None:
    for group in (TEAM, SECURITY):
        assert not may(applied, group, "patch", "trustdomains.troth.dev")


async def test_commands_read_the_declared_rotations(applied: Sandbox) -> None:
    kubeconfig: Path = applied.kubeconfig
    ended = await troth(kubeconfig, "rotate", "sid/payments", "-n", "shop")
    assert ended.code == 0
    assert "name: payments\n" in ended.output
    assert "every: 8h" in ended.output
    ended = await troth(kubeconfig, "status", "td/production")
    assert f"CredentialRotation {NAMESPACE}/production-root" in ended.output
