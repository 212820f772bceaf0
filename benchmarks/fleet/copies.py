"""What Troth wrote, as writes by the floor: the same bytes for objects of other names."""

import json

from benchmarks.fleet.topology import NAMESPACE, Manifest, path
from benchmarks.harness.client import MERGE, Write
from troth.world.observation.objects import PUBLIC

WRITTEN = {"Secret": "v1", "NetworkPolicy": "networking.k8s.io/v1"}


def whole(kind: str, item: Manifest, *, namespace: str = NAMESPACE, prefix: str = "") -> Write:
    """Return the write that creates a Secret or NetworkPolicy again, in another place or name.

    The copy has no label or owner of Troth, so Troth does not observe it. In a policy, the copy's
    namespace replaces the benchmark's namespace.
    """
    name = prefix + item["metadata"]["name"]
    body: Manifest = {
        "apiVersion": WRITTEN[kind],
        "kind": kind,
        "metadata": {"name": name},
        **{part: item[part] for part in ("type", "data") if part in item},
    }
    if "spec" in item:
        body["spec"] = _moved(item["spec"], namespace)
    return Write(path(kind, namespace, name), body)


def public(item: Manifest, *, namespace: str) -> Write:
    """Return the write of the part of an identity's Secret that changes with its edges."""
    data = {key: item["data"][key] for key in PUBLIC if key in item["data"]}
    return Write(path("Secret", namespace, item["metadata"]["name"]), {"data": data}, MERGE)


def _moved(spec: Manifest, namespace: str) -> Manifest:
    text = json.dumps(spec).replace(json.dumps(NAMESPACE), json.dumps(namespace))
    moved: Manifest = json.loads(text)
    return moved
