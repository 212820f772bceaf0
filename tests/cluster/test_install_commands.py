"""`troth crds --apply` and `troth ready`, which the chart's hooks run."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sandbox import Sandbox
from tests import builders
from tests.chart.rendering import NAMESPACE, hooks
from tests.cluster import chart
from tests.cluster.audit import Audit, audited
from tests.cluster.command import troth
from tests.cluster.conftest import await_crds, separate_sandbox
from tests.cluster.person import Person
from tests.cluster.stage import Stage
from troth.resources.references import Ref

CRD = "trustdomains.troth.dev"


@pytest.fixture(scope="module")
def empty() -> Iterator[tuple[Sandbox, Audit]]:
    """Yield a control plane without CRDs, and its audit log."""
    with contextmanager(separate_sandbox)() as sandbox, audited(sandbox) as behind:
        yield behind


async def install_accounts(sandbox: Sandbox) -> None:
    """Install the accounts and roles of the chart's hooks."""
    async with Person(sandbox.kubeconfig) as person:
        await person.put(builders.namespace(NAMESPACE))
        roles = [each for each in hooks() if each["kind"] not in ("Job", "Pod")]
        await chart.install(person, roles)


def version(sandbox: Sandbox) -> str:
    return sandbox.kubectl("get", "crd", CRD, "-o", "jsonpath={.metadata.generation}")


@pytest.mark.long
async def test_applied_crds_are_served_and_replace_older_ones(
    empty: tuple[Sandbox, Audit],
) -> None:
    """The hooks' accounts may do that, and each of their rights is used."""
    sandbox, audit = empty
    await install_accounts(sandbox)
    applying, asking = (
        sandbox.service_account_kubeconfig(NAMESPACE, f"troth-{hook}") for hook in ("crds", "test")
    )
    before = await troth(asking, "ready")
    assert before.code == 1
    assert f"serves no {CRD}; apply the CRDs: troth crds --apply" in before.errors

    applied = await troth(applying, "crds", "--apply")
    assert (applied.code, len(applied.output.splitlines())) == (0, 8), applied.errors
    await_crds(sandbox)
    assert "serves 8 kinds" in (await troth(asking, "ready")).output

    generation = version(sandbox)
    await troth(applying, "crds", "--apply")
    assert version(sandbox) == generation, "nothing has changed"

    field = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/isolation"
    patch = f'[{{"op": "remove", "path": "{field}"}}]'
    sandbox.kubectl("patch", "crd", CRD, "--type=json", "-p", patch)
    await troth(applying, "crds", "--apply")
    assert "isolation" in sandbox.kubectl("get", "crd", CRD, "-o", "yaml")
    for hook in ("crds", "test"):
        assert audit.unused(hooks(), Ref(NAMESPACE, f"troth-{hook}")) == []


async def test_cluster_is_ready_while_an_operator_leads(stage: Stage) -> None:
    asked = "ready", "--namespace", stage.own
    waiting = await troth(stage.sandbox.kubeconfig, *asked)
    assert waiting.code == 1
    assert f"no operator leads in the namespace {stage.own}; see kubectl logs" in waiting.errors

    await stage.run()
    leading = await troth(stage.sandbox.kubeconfig, *asked)
    assert (leading.code, leading.errors) == (0, "")
    assert "copy-0 leads" in leading.output
