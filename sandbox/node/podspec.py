"""The parts of a pod's manifest that a process pod supports."""

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.components import FIRST_SERVICE_ADDRESS

Manifest = Mapping[str, Any]


class NotYetError(Exception):
    """The pod needs something that does not exist yet, or that this tier does not support."""


def container_of(pod: Manifest) -> Manifest:
    """Return the one container of a pod; raises `NotYetError` for pods with more."""
    spec = pod["spec"]
    if len(spec["containers"]) > 1 or spec.get("initContainers"):
        raise NotYetError("a process pod runs one container; use the node tier")
    if spec.get("hostNetwork"):
        raise NotYetError("a process pod has a network of its own; use the node tier")
    container: Manifest = spec["containers"][0]
    return container


def arguments(container: Manifest, entrypoint: Sequence[str]) -> list[str]:
    """Return the command line of a container; `command` replaces the image's entry point."""
    return [*(container.get("command") or entrypoint), *(container.get("args") or [])]


def mounts(pod: Manifest, container: Manifest) -> list[tuple[str, Manifest]]:
    """Return the mount path and manifest of each volume."""
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes") or []}
    found = []
    for mount in container.get("volumeMounts") or []:
        if mount.get("subPath") or mount.get("subPathExpr"):
            raise NotYetError("a process pod mounts whole volumes; use the node tier")
        found.append((mount["mountPath"].strip("/"), volumes[mount["name"]]))
    return found


def has(volume: Manifest, kind: str, name: str) -> bool:
    """Return whether a volume contains a Secret ("secret") or ConfigMap ("configmap")."""
    match volume:
        case {"secret": {"secretName": found}}:
            return (kind, name) == ("secret", found)
        case {"configMap": {"name": found}}:
            return (kind, name) == ("configmap", found)
        case {"projected": {"sources": sources}}:
            return any(
                (kind, name) == (part.lower(), source[part]["name"])
                for source in sources
                for part in ("secret", "configMap")
                if part in source
            )
    return False


def environment(pod: Manifest, container: Manifest, address: str) -> dict[str, str]:
    """Return the environment of a container, with the variables that every pod has."""
    variables = {
        "PATH": "/",
        "HOSTNAME": pod["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": FIRST_SERVICE_ADDRESS,
        "KUBERNETES_SERVICE_PORT": "443",
    }
    addressed = {**pod, "status": {**pod.get("status", {}), "podIP": address}}
    for each in container.get("env") or []:
        match each:
            case {"valueFrom": {"fieldRef": {"fieldPath": path}}}:
                variables[each["name"]] = field(addressed, path)
            case {"valueFrom": _}:
                raise NotYetError(f"a process pod cannot have the variable {each['name']}")
            case _:
                variables[each["name"]] = each.get("value", "")
    return variables


def field(pod: Manifest, path: str) -> str:
    """Return the value of a pod's field for the downward API."""
    kind, _, name = path.partition(".")
    match path:
        case "metadata.labels" | "metadata.annotations":
            pairs = pod["metadata"].get(name) or {}
            return "\n".join(f'{key}="{value}"' for key, value in sorted(pairs.items()))
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return str(pod[kind][name])
        case "spec.nodeName" | "spec.serviceAccountName" | "status.podIP":
            return str(pod[kind][name])
    raise NotYetError(f"a process pod cannot be told its {path}")
