"""Operators behind a faulty path to the API server, and counts of committed writes."""

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
    """Run the operator behind a path on which faults can be injected."""
    async with FaultyPath(stage.kubeconfig, directory) as path:
        try:
            yield path
        finally:
            path.well()
            for copy in stage.copies:
                await copy.stop()


@asynccontextmanager
async def operated(stage: Stage, directory: Path) -> AsyncIterator[FaultyPath]:
    """Run an operator behind a faulty path, with a trust domain."""
    async with faulty(stage, directory) as path:
        await stage.domain()
        await stage.run(path.kubeconfig)
        yield path


async def lose(path: FaultyPath, resource: str, fault: Fault) -> None:
    """Break the watches of a resource, and expire their history before they resume."""
    for _ in range(path.watched(resource)):
        path.once("WATCH", resource, fault)
    assert path.cut(resource)


def committed(path: FaultyPath, resource: str, name: str) -> int:
    """Return how many writes of an object the API server has committed."""
    return sum(
        call.verb == "PATCH"
        and call.resource == resource
        and f"/{name}" in call.path
        and code < 400
        for call, code in path.log
    )
