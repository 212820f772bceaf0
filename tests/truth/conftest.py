"""Nodes for the tests in this directory, with Troth on them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox, Tier
from sandbox.processes import Tether
from tests.cluster.stage import Stage, staged
from tests.patience import PATIENCE
from tests.sandbox.nodes import skip_without

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="module")
def process_pods() -> Iterator[Sandbox]:
    """Yield a sandbox with running pods and Troth's CRDs."""
    skip_without(Tier.PROCESS_PODS)
    with Sandbox.start(tier=Tier.PROCESS_PODS) as sandbox:
        sandbox.kubectl("apply", "--server-side", "-f", str(CRDS))
        sandbox.await_crds(within=PATIENCE)
        yield sandbox


@pytest.fixture
async def stage(process_pods: Sandbox) -> AsyncIterator[Stage]:
    """Yield Troth, installed by its chart in a namespace of the test's own, and not started."""
    async with staged(process_pods) as setting:
        yield setting


@pytest.fixture
def tether(tmp_path: Path) -> Iterator[Tether]:
    """Yield a tether that ends processes with the test."""
    with Tether(tmp_path / "processes") as tied:
        tied.directory.mkdir()
        yield tied
