"""`troth crds --apply` and `troth ready`, which the chart's hooks run."""

from collections.abc import Iterator

import pytest

from sandbox import Sandbox
from tests.cluster.command import troth
from tests.cluster.conftest import await_crds, separate_sandbox
from tests.cluster.stage import Stage

CRD = "trustdomains.troth.dev"


@pytest.fixture(scope="module")
def empty() -> Iterator[Sandbox]:
    """Yield a control plane without CRDs."""
    yield from separate_sandbox()


def version(sandbox: Sandbox) -> str:
    return sandbox.kubectl("get", "crd", CRD, "-o", "jsonpath={.metadata.generation}")


async def test_applied_crds_are_served_and_replace_older_ones(empty: Sandbox) -> None:
    before = await troth(empty.kubeconfig, "ready")
    assert before.code == 1
    assert f"serves no {CRD}; apply the CRDs: troth crds --apply" in before.errors

    applied = await troth(empty.kubeconfig, "crds", "--apply")
    assert (applied.code, len(applied.output.splitlines())) == (0, 6), applied.errors
    await_crds(empty)
    assert "serves 6 kinds" in (await troth(empty.kubeconfig, "ready")).output

    generation = version(empty)
    await troth(empty.kubeconfig, "crds", "--apply")
    assert version(empty) == generation, "nothing has changed"

    field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/isolation"
    patch = f'[{{"op": "remove", "path": "{field}"}}]'
    empty.kubectl("patch", "crd", CRD, "--type=json", "-p", patch)
    await troth(empty.kubeconfig, "crds", "--apply")
    assert "isolation" in empty.kubectl("get", "crd", CRD, "-o", "yaml")


async def test_cluster_is_ready_while_an_operator_leads(stage: Stage) -> None:
    asked = "ready", "--namespace", stage.own
    waiting = await troth(stage.sandbox.kubeconfig, *asked)
    assert waiting.code == 1
    assert f"no operator leads in the namespace {stage.own}; see kubectl logs" in waiting.errors

    await stage.run()
    leading = await troth(stage.sandbox.kubeconfig, *asked)
    assert (leading.code, leading.errors) == (0, "")
    assert "copy-0 leads" in leading.output
