"""Applies the way out of a finding to the manifests of an example."""

import copy
from collections.abc import Iterable
from typing import Any

from troth.audit.facts.pods.workloads import TEMPLATES, pod
from troth.audit.finding import Fix, Object, Patch
from troth.resources.references import Ref

Manifest = dict[str, Any]


def fixed(manifests: Iterable[Manifest], fix: Fix) -> list[Manifest]:
    """Return the manifests after a fix was applied, and workloads that changed were rolled out.

    Raises `KeyError` if a patch is of an object that does not exist, and `ValueError` if it is of
    a field that cannot change, as kubectl fails then.
    """
    objects = {place_of(each): copy.deepcopy(each) for each in manifests}
    for manifest in fix.manifests:
        place = place_of(manifest)
        objects[place] = merged(objects.get(place, {}), manifest)
    for patch in fix.patches:
        _check_mutable(patch)
        objects[patch.object] = merged(objects[patch.object], patch.patch)
    for manifest in objects.values():
        if manifest["kind"] == "Pod":
            _roll_out(manifest, objects)
    return list(objects.values())


def _check_mutable(patch: Patch) -> None:
    kind, spec = patch.object.kind, patch.patch.get("spec")
    if spec is not None and (kind == "Pod" or (kind == "Job" and "template" in spec)):
        raise ValueError(f"the API server rejects a change of the pod spec of {patch.object}")


def place_of(manifest: Manifest) -> Object:
    return Object(manifest["kind"], Ref.of(manifest))


def merged(value: Any, patch: Any) -> Any:
    """Return a value after a merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(value) if isinstance(value, dict) else {}
    for name, part in patch.items():
        if part is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), part)
    return result


def _roll_out(manifest: Manifest, objects: dict[Object, Manifest]) -> None:
    """Give a pod the spec and the labels of the template of its workload, if that is known."""
    owner = pod(manifest).workload
    template: Any = objects.get(owner) if owner.kind != "Pod" else None
    for name in TEMPLATES.get(owner.kind, ()):
        template = (template or {}).get(name)
    if template:
        manifest["spec"] = merged(manifest.get("spec"), template.get("spec") or {})
        labels = (template.get("metadata") or {}).get("labels") or {}
        manifest["metadata"]["labels"] = {**(manifest["metadata"].get("labels") or {}), **labels}
