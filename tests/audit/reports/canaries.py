"""Puts canaries wherever a manifest may have a secret."""

import json
from base64 import b64encode
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

CANARY = "canary-7f3e9d"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"

Manifest = dict[str, Any]


def with_canaries(manifests: list[Manifest]) -> list[Manifest]:
    """Return manifests with canaries in Secrets, ConfigMaps, environments and arguments.

    Each object also has itself in the annotation of `kubectl apply`. Secrets that pods refer to
    and that are not among the manifests are added.
    """
    made = [_spoilt(deepcopy(each)) for each in manifests]
    known = {_place(each) for each in made}
    for namespace, name in sorted(_referenced(made)):
        if ("Secret", namespace, name) not in known:
            made.append(_spoilt(_secret(namespace, name)))
    for each in made:
        annotations = each["metadata"].get("annotations") or {}
        text = json.dumps({**each, "note": f"{CANARY}-applied"})
        each["metadata"]["annotations"] = {**annotations, LAST_APPLIED: text}
    return made


def is_free_of_canaries(text: str) -> bool:
    """Return whether a text has no canary, neither as it is nor in base64."""
    encoded = b64encode(CANARY.encode()).decode().rstrip("=")[:-1]
    return CANARY not in text.lower() and encoded not in text


def _place(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _secret(namespace: str, name: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": {"password": ""},
    }


def _spoilt(manifest: Manifest) -> Manifest:
    for container in _containers(manifest):
        variables = container.setdefault("env", [])
        for variable in variables:
            if "value" in variable:
                variable["value"] += f" {CANARY}-env"
        variables += [
            {"name": "PASSWORD", "value": f"{CANARY}-password"},
            {"name": "DATABASE", "value": f"postgres://shop:{CANARY}@db.shop.svc:5432/shop"},
        ]
        container["args"] = [*container.get("args", ()), f"--token={CANARY}-argument"]
    match manifest["kind"]:
        case "Secret":
            for key in {*manifest.get("data", {}), "canary"}:
                encoded = b64encode(f"{CANARY}-secret-{key}".encode()).decode()
                manifest.setdefault("data", {})[key] = encoded
            manifest["stringData"] = {"more": f"{CANARY}-string"}
        case "ConfigMap":
            texts = manifest.setdefault("data", {"canary": ""})
            manifest["data"] = {key: f"{text}\n{CANARY}-map" for key, text in texts.items()}
            manifest["binaryData"] = {"binary": b64encode(CANARY.encode()).decode()}
    return manifest


def _containers(value: object) -> Iterator[dict[str, Any]]:
    """Yield every container of an object, wherever its pod spec is."""
    if isinstance(value, dict):
        for name, each in value.items():
            if name in ("containers", "initContainers") and isinstance(each, list):
                yield from (item for item in each if isinstance(item, dict))
            yield from _containers(each)
    elif isinstance(value, list):
        for each in value:
            yield from _containers(each)


def _referenced(manifests: list[Manifest]) -> set[tuple[str, str]]:
    """Return namespaces and names of the Secrets that manifests refer to."""
    return {
        (each["metadata"]["namespace"], name)
        for each in manifests
        if each["metadata"].get("namespace")
        for name in _names(each)
    }


def _names(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key in ("secretName", "secretKeyRef", "secretRef"):
            found = value.get(key)
            name = found.get("name") if isinstance(found, dict) else found
            if isinstance(name, str):
                yield name
        for each in value.values():
            yield from _names(each)
    elif isinstance(value, list):
        for each in value:
            yield from _names(each)
