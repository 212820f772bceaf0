"""Troth's plans for `examples/`, and the documents that it writes for them."""

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import yaml

from tests.net.canonical import bytes_of, dumped
from tests.net.randomness import Source, reproducible
from tests.net.stage import Manifest, Stage
from troth.cli.inputs.sources import namespace_metadata
from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.issuer.configuration import read_configuration
from troth.issuer.discovery import metadata
from troth.resources.references import Ref
from troth.webhooks.gateway.reporting import Reporter
from troth.webhooks.gateway.routes import Routes, served
from troth.world.facts.objects import MANAGED_BY
from troth.world.observation.objects import decoded
from troth.world.observation.webhook_secrets import GIVEN_LABEL, is_compiled

FOLDER = Path(__file__).parents[2] / "examples"
SHOP = "shop"
SIGNING = "whsec_an-example"
UNKNOWN = ("RoleBinding", "ClusterRoleBinding", "ServiceAccount")
"""Kinds in the examples that Troth does not watch."""


@dataclass(frozen=True)
class Example:
    """Files to apply together, and the targets to rotate afterwards."""

    name: str
    files: tuple[str, ...]
    rotated: tuple[tuple[str, str, str], ...] = ()


EXAMPLES = (
    Example("shop", (SHOP,), (("TrustDomain", "", "production"),)),
    Example("kafka", (SHOP, "messages/kafka.yaml"), (("ServiceIdentity", SHOP, "checkout"),)),
    Example("nats", (SHOP, "messages/nats.yaml"), (("ServiceIdentity", SHOP, "checkout"),)),
    Example("rotation", (SHOP, "rotation")),
    Example("webhooks", ("webhooks",), (("WebhookEndpoint", SHOP, "orders"),)),
)


@dataclass(frozen=True)
class Played:
    """Results of an example: plans by moment, and documents by place."""

    plans: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Plans by moment and key, without those that are unchanged since the previous moment."""
    documents: dict[str, str] = field(default_factory=dict)


def played(example: Example) -> Played:
    """Reconcile an example until it is settled, rotate its targets, and return the results."""
    with reproducible(example.name) as source:
        return asyncio.run(_play(example, source))


async def _play(example: Example, source: Source) -> Played:
    stage, found = Stage(), Played()
    source.secret.add(SIGNING)
    for manifest in [*_manifests(example), _signing()]:
        stage.put(manifest)
    _keep(found, "applied", stage, source)
    await stage.settle(8)
    _keep(found, "settled", stage, source)
    for kind, namespace, name in example.rotated:
        stage.put(_rotation(kind, namespace, name, stage))
    for moment, wait in (("rotating", timedelta(seconds=1)), ("overlapping", timedelta(minutes=8))):
        await stage.pass_time(wait)
        await stage.settle(8)
        _keep(found, moment, stage, source)
    found.documents["gateway report"] = await _report(stage)
    return found


def _manifests(example: Example) -> Iterator[Manifest]:
    for each in example.files:
        path = FOLDER / each
        for file in sorted(path.glob("*.yaml")) if path.is_dir() else [path]:
            for manifest in yaml.safe_load_all(file.read_text()):
                if manifest is None or manifest["kind"] in UNKNOWN:
                    continue
                if manifest["kind"] == "Namespace":
                    manifest["metadata"] = namespace_metadata(manifest["metadata"])
                yield manifest


def _signing() -> Manifest:
    """Return the Secret of the sender's keys, which the examples leave to the reader."""
    labels = {GIVEN_LABEL: "true"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "stripe-signing", "namespace": SHOP, "labels": labels},
        "data": {"main": base64.b64encode(SIGNING.encode()).decode()},
    }


def _rotation(kind: str, namespace: str, name: str, stage: Stage) -> Manifest:
    here = namespace or "troth-system"
    spec = {
        "target": {"kind": kind, "name": name},
        "requestedAt": (stage.now + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "overlap": "1h",
    }
    named = {"name": f"{name}-now", "namespace": here}
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "CredentialRotation",
        "metadata": named,
        "spec": spec,
    }


def _keep(found: Played, moment: str, stage: Stage, source: Source) -> None:
    """Record the plans and documents that changed since the earlier moments."""
    found.plans[moment] = {}
    for each in stage.plans():
        name, made = each.pop("key"), each["plan"]
        del made["previous_status"]  # the same as the status of the previous moment
        known = [plans[name] for plans in found.plans.values() if name in plans]
        if not known or known[-1] != each:
            found.plans[moment][name] = each
    for place, text in _documents(stage):
        shown = source.masked(text)
        if shown not in [each for name, each in found.documents.items() if name.startswith(place)]:
            found.documents[f"{place} ({moment})"] = shown


def _documents(stage: Stage) -> Iterator[tuple[str, str]]:
    for (kind, ref), manifest in sorted(stage.store.objects.items()):
        labels = manifest["metadata"].get("labels") or {}
        if kind not in ("Secret", "ConfigMap") or labels.get(MANAGED_BY) != "troth":
            continue
        annotations = manifest["metadata"].get("annotations") or {}
        head = {"type": manifest.get("type"), "labels": labels, "annotations": annotations}
        yield f"{kind} {ref}", dumped(head, indent=2)
        data = manifest.get("data") or {}
        as_bytes = decoded(manifest) if kind == "Secret" else {}
        for name in sorted({*data, *(manifest.get("binaryData") or {})}):
            value = as_bytes.get(name) or (data.get(name) or manifest["binaryData"][name]).encode()
            yield f"{kind} {ref} {name}", bytes_of(value)
        if kind == "Secret" and "current.key" in data and "view.json.gz" in data:
            configuration = read_configuration(manifest)
            yield f"issuer of {ref} /keys", bytes_of(configuration.key_set)
            yield f"issuer of {ref} /bundle", bytes_of(configuration.bundle)
            yield f"issuer of {ref} metadata", bytes_of(metadata(configuration.grants))


async def _report(stage: Stage) -> str:
    """Return the report of a gateway that has used every key of its endpoints once."""
    routes = Routes()
    for (_, ref), manifest in sorted(stage.store.objects.items()):
        if is_compiled(manifest):
            routes.put(ref.name, served(decoded(manifest)))
    reporter = Reporter("troth-gateway", "troth-gateway", routes, set(), stage.now.timestamp)
    for each in routes:
        for key in each.keys:
            reporter.used(each.endpoint.endpoint, key.id)
    written: list[Manifest] = []

    class Server:
        async def merge_patch(self, kind: str, ref: Ref, patch: Manifest) -> Manifest:
            raise ApiError(404, "NotFound", f"there is no {kind} {ref} yet to be patched: {patch}")

        async def create(self, manifest: Manifest) -> Manifest:
            written.append(manifest)
            return {**manifest, "metadata": {**manifest["metadata"], "resourceVersion": "1"}}

    await reporter.report(cast("ApiServer", Server()))  # has every method that `report` calls
    return dumped(written, indent=2)
