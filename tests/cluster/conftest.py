"""A real control plane for the tests in this directory.

It starts when the first test requests it. Under pytest-xdist each worker has its own, so that no
test sees cluster-scoped objects of another that runs at the same time.
"""

import ssl
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sandbox import Sandbox
from sandbox.cluster import named_kubeconfig
from tests.cluster.dry_run import DryRun
from tests.cluster.person import TOO_MANY, reached_by
from tests.cluster.stage import Stage, staged
from tests.patience import PATIENCE
from troth.resources.kinds import EVERY_KIND
from troth.resources.metadata import API_VERSION

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox.start() as started:
        yield started


def separate_sandbox() -> Iterator[Sandbox]:
    """Yield a control plane for one module that installs or deletes cluster-wide objects.

    Such a module overrides the fixture `sandbox` with it, so that no other test depends on the
    module's remains.
    """
    if named_kubeconfig() is not None:
        pytest.skip("the named cluster is shared; these tests install and delete CRDs")
    with Sandbox.start() as started:
        yield started


@pytest.fixture(scope="session")
def established(sandbox: Sandbox) -> Sandbox:
    """Return the sandbox with Troth's CRDs installed."""
    return with_crds(sandbox)


def with_crds(sandbox: Sandbox) -> Sandbox:
    sandbox.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CRDS))
    await_crds(sandbox)
    return sandbox


def await_crds(sandbox: Sandbox) -> None:
    """Wait until the API server serves Troth's kinds, those that it has, also to watches."""
    sandbox.await_crds("-l", "app.kubernetes.io/name=troth", within=PATIENCE)
    address, context = reached_by(sandbox.kubeconfig)
    deadline = time.monotonic() + PATIENCE
    for kind in EVERY_KIND:
        cached = f"{address}/apis/{API_VERSION}/{kind.plural}?resourceVersion=0"
        while _status(cached, context) == TOO_MANY:
            assert time.monotonic() < deadline, f"the API server still loads {kind.plural}"
            time.sleep(0.05)


def _status(url: str, context: ssl.SSLContext) -> int:
    try:
        with urllib.request.urlopen(url, context=context, timeout=PATIENCE) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture(scope="module")
def dry_run(established: Sandbox) -> Iterator[DryRun]:
    with DryRun(established.kubeconfig) as connection:
        yield connection


@pytest.fixture
def namespace(sandbox: Sandbox) -> Iterator[str]:
    """Return a namespace of the test's own; its contents are still being deleted after the test."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    sandbox.kubectl("create", "namespace", name)
    yield name
    sandbox.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
async def stage(established: Sandbox) -> AsyncIterator[Stage]:
    """Yield Troth, installed by its chart in a namespace of the test's own, and not started."""
    async with staged(established) as setting:
        yield setting


@pytest.fixture
async def lonely_stage() -> AsyncIterator[Stage]:
    """Yield the same on a control plane of its own, which the test may stop and start.

    A controller manager whose API server was down may not retry for most of a minute.
    """
    if named_kubeconfig() is not None:
        pytest.skip("the cluster is not ours to stop")
    with Sandbox.start() as sandbox:
        async with staged(with_crds(sandbox)) as setting:
            yield setting
