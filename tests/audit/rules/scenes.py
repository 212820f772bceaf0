"""Manifests for the tests of rules, and what a fix makes of a scene."""

import copy
from collections.abc import Iterable
from typing import Any

from tests.audit.pages import NOW, evaluated
from troth.audit.finding import Finding, Fix
from troth.audit.rule import Rule
from troth.audit.scene import Manifest, Scene, scene_of


def deployment(
    name: str = "web", *, account: str = "", labels: Any = None, **spec: Any
) -> Manifest:
    """Return a Deployment with a ServiceAccount of its name. `spec` is of its pods."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {
            "template": {
                "metadata": {"labels": {"app": name} if labels is None else labels},
                "spec": {"serviceAccountName": account or name, "containers": [{}], **spec},
            }
        },
    }


def container(*env: Manifest, port: int | None = None, **more: Any) -> Manifest:
    """Return a container with variables and a port."""
    ports = [] if port is None else [{"name": "http", "containerPort": port}]
    return {
        "name": "main",
        "image": "registry.example/main:1",
        "env": list(env),
        "ports": ports,
    } | more


def from_secret(variable: str, secret: str, key: str = "password") -> Manifest:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def service(name: str = "web", port: object = 80, target: object = 8080, **spec: Any) -> Manifest:
    ports = [{"name": "http", "port": port, "targetPort": target}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


def ingress(
    name: str = "web",
    annotations: Any = None,
    *,
    path: str = "/",
    host: str = "",
    backend: str = "web",
) -> Manifest:
    to = {"service": {"name": backend, "port": {"number": 80}}}
    rule: Manifest = {"http": {"paths": [{"path": path, "backend": to}]}}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "namespace": "shop", "annotations": annotations},
        "spec": {"rules": [rule | ({"host": host} if host else {})]},
    }


def other(
    kind: str, name: str, spec: Any, namespace: str = "shop", group: str = "example.com/v1"
) -> Manifest:
    """Return an object of a kind of others."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": group, "kind": kind, "metadata": metadata, "spec": spec}


def findings(rule: Rule, manifests: Iterable[Manifest], **scene: Any) -> tuple[Finding, ...]:
    return evaluated(rule, scene_of(manifests, NOW, **scene)).findings


def fixed(rule: Rule, manifests: list[Manifest]) -> tuple[Fix, list[Manifest]]:
    """Return the fix of the first finding, and the manifests after it."""
    scene: Scene = scene_of(manifests, NOW)
    fix = rule.fix(scene, evaluated(rule, scene).findings[0])
    changed = {_place(each): copy.deepcopy(each) for each in manifests}
    changed |= {_place(each): each for each in fix.manifests}
    for patch in fix.patches:
        kind, ref = patch.object
        changed[kind, *ref] = _merged(changed[kind, *ref], patch.patch)
    return fix, list(changed.values())


def _place(manifest: Manifest) -> tuple[str, str, str]:
    metadata = manifest["metadata"]
    return manifest["kind"], metadata.get("namespace", ""), metadata["name"]


def _merged(value: Any, patch: Any) -> Any:
    """Return a value after a merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(value) if isinstance(value, dict) else {}
    for name, each in patch.items():
        if each is None:
            result.pop(name, None)
        else:
            result[name] = _merged(result.get(name), each)
    return result
