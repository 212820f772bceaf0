"""Drafts a WebhookEndpoint for a receiver that trusts addresses."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from troth.audit.facts.pods.workloads import Workload
from troth.audit.facts.ranges import Network
from troth.audit.finding import Finding, Fix, Patch
from troth.audit.rules.declared import entries, identity_patch
from troth.audit.scene import Manifest, Scene
from troth.audit.skeletons import (
    identity_name,
    identity_of,
    identity_skeleton,
    named,
    ports_of,
    selector_of,
    ungoverned_step,
)
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.metadata import API_VERSION
from troth.resources.references import Ref
from troth.resources.webhooks.inbound import Inbound
from troth.resources.webhooks.names import PublicURL, TargetPath
from troth.resources.webhooks.schemes import ISSUED_BY_SENDER, SchemeName

GATEWAY = Inbound.model_fields["gateway"].default
"""Gateway that an endpoint has unless it names another one."""
_MOST_NETWORKS = 64
_HOST = "hooks.replace-me.example"
_TOPIC = "arn:aws:sns:us-east-1:000000000000:replace-me"
_PATH = TypeAdapter(TargetPath)
_URL = TypeAdapter(PublicURL)


@dataclass(frozen=True, slots=True)
class Receiver:
    """Workload that gets webhooks, and what is known of the sender."""

    workload: Workload | None
    namespace: str
    port: int
    networks: tuple[Network, ...]
    scheme: SchemeName | None
    name: str
    host: str = ""
    path: str = ""
    identity: Ref | None = None
    """Identity that trusts the addresses, if an identity does."""
    replaces: int | None = None
    """Position of the entry of `accepts` that trusts them."""


def fix(scene: Scene, finding: Finding, receiver: Receiver) -> Fix:
    """Return a WebhookEndpoint, and an identity that accepts its deliveries from the gateway."""
    identity = _identity(scene, receiver)
    gateway = {"from": {"name": GATEWAY.name, "namespace": GATEWAY.namespace}}
    manifests: list[Manifest] = []
    patches: list[Patch] = []
    if identity is None:
        assert receiver.workload is not None
        ref = identity_name(receiver.workload)
        account = receiver.workload.spec.service_account
        account = ref.name if account == "default" else account
        ports = ports_of(receiver.workload, receiver.port) or [{"name": "webhooks", "port": 8443}]
        port = _port(ports, receiver.port)
        labels = selector_of(scene, [receiver.workload])
        accepts = [{**gateway, "ports": [port]}]
        manifests.append(identity_skeleton(ref, account, labels, ports, accepts=accepts))
    else:
        ref = identity.ref
        ports = written_ports(identity)
        port = _port(ports, receiver.port)
        accepts = entries(scene, identity.ref, "accepts")
        if receiver.replaces is not None:
            del accepts[receiver.replaces]
        patches.append(identity_patch(ref, accepts=[*accepts, {**gateway, "ports": [port]}]))
    manifests.append(_endpoint(receiver, ref, port))
    return Fix(tuple(manifests), tuple(patches), tuple(_steps(scene, finding, receiver, identity)))


def written_ports(identity: ServiceIdentity) -> list[dict[str, Any]]:
    """Return the ports of an identity as a manifest writes them."""
    return [{"name": each.name, "port": each.port} for each in identity.spec.workload.ports]


def _identity(scene: Scene, receiver: Receiver) -> ServiceIdentity | None:
    if receiver.identity is not None:
        return scene.world.registry.identities[receiver.identity]
    return None if receiver.workload is None else identity_of(scene, receiver.workload)


def _port(ports: list[dict[str, Any]], number: int) -> str:
    fits = [each["name"] for each in ports if each["port"] == number]
    return str(fits[0] if fits else ports[0]["name"])


def _endpoint(receiver: Receiver, target: Ref, port: str) -> Manifest:
    scheme = receiver.scheme or SchemeName.STANDARD_WEBHOOKS
    name = named(
        f"{receiver.name}-{scheme.value}" if receiver.scheme else f"{receiver.name}-webhook"
    )
    cidrs = list(dict.fromkeys(map(str, receiver.networks)))
    inbound: dict[str, Any] = {"scheme": scheme.value}
    if scheme in ISSUED_BY_SENDER:
        inbound["secretRef"] = {"name": named(f"{name}-signing")}
    if scheme is SchemeName.SNS:
        inbound["sns"] = {"topicARNs": [_TOPIC]}
    if len(cidrs) <= _MOST_NETWORKS:
        inbound["source"] = {"cidrs": cidrs}
    inbound["publicURL"] = _url(receiver, name)
    inbound["target"] = {
        "identity": {"name": target.name},
        "port": port,
        "path": _path(receiver.path),
        "workflow": name,
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "WebhookEndpoint",
        "metadata": {"name": name, "namespace": receiver.namespace},
        "spec": {"inbound": inbound},
    }


def _url(receiver: Receiver, name: str) -> str:
    url = f"https://{receiver.host}/{receiver.namespace}/{name}"
    return url if _is_valid(_URL, url) else f"https://{_HOST}/{receiver.namespace}/{name}"


def _path(path: str) -> str:
    return path if _is_valid(_PATH, path) else "/"


def _is_valid(type_: TypeAdapter[str], value: str) -> bool:
    try:
        type_.validate_python(value)
    except ValidationError:
        return False
    return True


def _steps(
    scene: Scene, finding: Finding, receiver: Receiver, identity: ServiceIdentity | None
) -> Iterator[str]:
    if (
        identity is None
        and receiver.workload
        and receiver.workload.spec.service_account == "default"
    ):
        yield "Give the workload a ServiceAccount of its own (TR701)."
    yield from ungoverned_step(scene, receiver.namespace)
    if receiver.scheme is None:
        yield (
            "Replace the scheme StandardWebhooks by the one that the sender signs with; "
            "docs/webhooks.md lists them."
        )
    elif receiver.scheme in ISSUED_BY_SENDER:
        yield (
            "Put the signing secret that the sender issues into the Secret of secretRef, with the "
            "label troth.dev/webhook-keys=true."
        )
    if receiver.scheme is SchemeName.SNS:
        yield "Write the ARN of the topic in sns.topicARNs."
    yield (
        "Install the webhook gateway, write the URL by which senders reach it in publicURL, and "
        "give the sender the URL in status.url."
    )
    yield f"Then remove the way around the gateway: the allowlist in {finding.subject}."
