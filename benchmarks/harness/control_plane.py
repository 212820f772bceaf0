"""Control planes for benchmarks."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import NamedTuple

from benchmarks.fleet.topology import Manifest
from benchmarks.harness.claim import held_claim
from benchmarks.harness.requests import Requests
from sandbox import Sandbox, Tier
from sandbox.demo.programs import NAMESPACE as SYSTEM
from troth.cluster.api import ApiServer
from troth.cluster.connection.connecting import configuration


@contextmanager
def control_plane(
    *namespaces: str, tier: Tier = Tier.CONTROL_PLANE, controllers: bool = True
) -> Iterator[Sandbox]:
    """Run a control plane with the CRDs, the operator's claim, its namespace and the given ones."""
    with Sandbox.start(tier=tier, controllers=controllers) as sandbox:
        for namespace in (SYSTEM, *namespaces):
            sandbox.kubectl("create", "namespace", namespace)
        sandbox.kubectl("apply", "-f", "crds")
        sandbox.await_crds()
        apply(sandbox, [held_claim()])
        yield sandbox


def apply(sandbox: Sandbox, manifests: Iterable[Manifest]) -> None:
    """Apply manifests with kubectl."""
    text = "\n---\n".join(json.dumps(manifest) for manifest in manifests)
    sandbox.kubectl("apply", "-f", "-", stdin=text)


class Counted(NamedTuple):
    """A client of the API server for an operator in this process, and a count of its requests."""

    server: ApiServer
    requests: Requests


@asynccontextmanager
async def api_server(sandbox: Sandbox) -> AsyncIterator[Counted]:
    """Connect to a control plane."""
    requests: Requests = Counter()

    def count(verb: str, resource: str, _: str) -> None:
        requests[verb, resource] += 1

    async with ApiServer(await configuration(str(sandbox.kubeconfig)), count) as server:
        yield Counted(server, requests)
