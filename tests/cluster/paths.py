"""The operator on a path where things can go wrong, and what is counted there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sandbox.faults import Fault, FaultyPath
from tests.cluster.stage import Stage

KINDS = (
    *("trustdomains", "serviceidentities", "namespaces", "services"),
    *("endpointslices", "secrets", "configmaps", "networkpolicies"),
)

WRITTEN = ("secrets", "networkpolicies", "serviceidentities", "configmaps", "trustdomains")


@asynccontextmanager
async def faulty(stage: Stage, directory: Path) -> AsyncIterator[FaultyPath]:
    """Run the operator over a path on which things can go wrong."""
    async with FaultyPath(stage.kubeconfig, directory) as path:
        try:
            yield path
        finally:
            path.well()
            for copy in stage.copies:
                await copy.stop()


@asynccontextmanager
async def operated(stage: Stage, directory: Path) -> AsyncIterator[FaultyPath]:
    """Run an operator on a faulty path, with a trust domain."""
    async with faulty(stage, directory) as path:
        await stage.domain()
        await stage.run(path.kubeconfig)
        yield path


async def lose(path: FaultyPath, resource: str, fault: Fault) -> None:
    """Have the watches of a resource break, and their history be gone when they are resumed."""
    for _ in range(path.watched(resource)):
        path.once("WATCH", resource, fault)
    assert path.cut(resource)


def committed(path: FaultyPath, resource: str, name: str) -> int:
    """Return how many writes of an object the API server has carried out."""
    return sum(
        call.verb == "PATCH"
        and call.resource == resource
        and f"/{name}" in call.path
        and code < 400
        for call, code in path.log
    )
