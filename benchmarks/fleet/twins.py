"""Twins of identities and of their owned objects, to which the floor writes; Troth observes none.

Their kind has the same schema as ServiceIdentity in another API group. So a write to a twin costs
the API server as much as a write to a ServiceIdentity.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from benchmarks.fleet.copies import WRITTEN, whole
from benchmarks.fleet.pairs import Pair
from benchmarks.fleet.topology import Manifest, name, path
from benchmarks.harness.client import MERGE, Bare, Write
from sandbox import Sandbox
from troth.resources.metadata import API_VERSION

NAMESPACE = "floor"
GROUP = "floor.example"
VERSION = f"{GROUP}/{API_VERSION.partition('/')[2]}"
SCHEMA = Path("crds/serviceidentities.yaml")


def make_known(sandbox: Sandbox) -> None:
    """Create the CRD of the twins."""
    definition = yaml.safe_load(SCHEMA.read_text())
    plural = definition["spec"]["names"]["plural"]
    definition["metadata"] = {"name": f"{plural}.{GROUP}"}
    definition["spec"]["group"] = GROUP
    for shared in ("shortNames", "categories"):
        del definition["spec"]["names"][shared]
    sandbox.kubectl("apply", "-f", "-", stdin=json.dumps(definition))
    sandbox.await_crds(f"{plural}.{GROUP}")


async def give_birth(bare: Bare, pairs: Sequence[Pair]) -> None:
    """Create twins of the pairs' identities, and of their owned objects, as they are now."""
    numbers = {number for pair in pairs for number in pair.pods}
    names = {name(number) for number in numbers}
    children = {place.rpartition("/")[2] for pair in pairs for place in pair.children()}
    writes = [
        whole(kind, item, namespace=NAMESPACE)
        for kind in WRITTEN
        for item in await bare.items(path(kind))
        if item["metadata"]["name"] in children
    ]
    identities = [
        item
        for item in await bare.items(path("ServiceIdentity"))
        if item["metadata"]["name"] in names
    ]
    await bare.send(writes)
    await bare.send([declared(item) for item in identities])
    await bare.send([reported(item) for item in identities])


def declared(identity: Manifest) -> Write:
    """Return the write that declares an identity's twin."""
    own = identity["metadata"]["name"]
    metadata = {"name": own, "namespace": NAMESPACE}
    body = {"kind": "ServiceIdentity", "spec": identity["spec"]}
    return Write(_place(own), {"apiVersion": VERSION, "metadata": metadata, **body})


def reported(identity: Manifest) -> Write:
    """Return the write of an identity's status to its twin."""
    own = identity["metadata"]["name"]
    return Write(f"{_place(own)}/status", {"status": identity["status"]}, MERGE)


def _place(own: str) -> str:
    return path("ServiceIdentity", NAMESPACE, own).replace(API_VERSION, VERSION)
