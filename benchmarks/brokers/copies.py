"""What Troth wrote for a broker, as writes by the floor to another namespace."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.fleet.copies import public, whole
from benchmarks.fleet.topology import Manifest, path
from benchmarks.harness.client import MERGE, Bare, Write
from troth.world.facts.objects import SECRET_SUFFIX
from troth.world.observation.broker_secrets import TYPE


@dataclass(frozen=True, slots=True)
class Copies:
    """Writes in their order; `before` has those for objects older than the broker."""

    before: Sequence[Write]
    secrets: Sequence[Write]
    statuses: Sequence[Write]


async def copies(bare: Bare, namespace: str) -> Copies:
    """Return all writes since the declaration of a broker."""
    secrets = await bare.items(path("Secret"))
    credentials = [item for item in secrets if item.get("type") == TYPE]
    identities = [item for item in secrets if item["metadata"]["name"].endswith(SECRET_SUFFIX)]
    resources = [
        (kind, item)
        for kind in ("ServiceIdentity", "TopicPolicy")
        for item in await bare.items(path(kind))
    ]
    return Copies(
        before=[
            *(_empty(item, namespace) for item in identities),
            *(_resource(kind, item, namespace) for kind, item in resources),
        ],
        secrets=[
            *(whole("Secret", item, namespace=namespace) for item in credentials),
            *(public(item, namespace=namespace) for item in identities),
        ],
        statuses=[_status(kind, item, namespace) for kind, item in resources],
    )


def _empty(item: Manifest, namespace: str) -> Write:
    name = item["metadata"]["name"]
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    return Write(path("Secret", namespace, name), body)


def _resource(kind: str, item: Manifest, namespace: str) -> Write:
    name = item["metadata"]["name"]
    body = {part: item[part] for part in ("apiVersion", "kind", "spec")}
    return Write(path(kind, namespace, name), {**body, "metadata": {"name": name}})


def _status(kind: str, item: Manifest, namespace: str) -> Write:
    place = path(kind, namespace, item["metadata"]["name"])
    return Write(f"{place}/status", {"status": item["status"]}, MERGE)
