"""Admission that changes or denies writes: policies of the API server, and a webhook that is down.

Each applies to all clients and is in force when its context manager is entered: the API server
loads policies and webhooks with a delay.
"""

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from sandbox.control_plane import free_port
from tests.cluster.person import Manifest, Refused, until
from tests.cluster.stage import IDENTITY, Stage
from troth.resources.metadata import GROUP
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY

API = "admissionregistration.k8s.io/v1"


@dataclass(frozen=True)
class Target:
    """The requests that an admission is about, and an object that shows whether it is in force."""

    resource: str
    group: str
    kind: str
    probe: Manifest = field(default_factory=dict)
    name: str = ""
    """Name of the only object that it is about, empty for every object."""

    @property
    def rule(self) -> Manifest:
        rule: Manifest = {
            "apiGroups": [self.group],
            "apiVersions": ["*"],
            "operations": ["CREATE", "UPDATE"],
            "resources": [self.resource],
        }
        return rule | ({"resourceNames": [self.name]} if self.name else {})


SECRETS = Target(
    *("secrets", "", "Secret"),
    {"data": {"tls.crt": "YQ==", "tls.key": "YQ==", "identity.json": "YQ=="}},
)
CONFIG_MAPS = Target("configmaps", "", "ConfigMap", {"data": {"ca.crt": "a"}})
POLICIES = Target(
    *("networkpolicies", "networking.k8s.io", "NetworkPolicy"),
    {
        "spec": {
            "podSelector": {},
            "policyTypes": ["Ingress", "Egress"],
            "egress": [{"ports": [{"port": 53}]}],
        }
    },
)
EVENTS = Target(
    *("events", "events.k8s.io", "Event"),
    {
        "eventTime": "2027-01-01T00:00:00.000000Z",
        "action": "Probe",
        "reason": "Probe",
        "type": "Normal",
        "reportingController": "probe",
        "reportingInstance": "probe",
    },
)
LEASES = Target("leases", "coordination.k8s.io", "Lease", {"spec": {"holderIdentity": "probe"}})
STATUSES = Target("serviceidentities/status", GROUP, IDENTITY)


@dataclass(frozen=True)
class Admission:
    """One admission. `in_force` sets it up; the name that it yields is in Troth's messages."""

    kind: str
    target: Target
    rule: Manifest = field(default_factory=dict)

    def in_force(
        self, stage: Stage, namespace: str, probed: Ref | None = None
    ) -> AbstractAsyncContextManager[str]:
        """Apply the admission in a namespace. `probed` is the object whose status is probed."""
        return _in_force(self, stage, namespace, probed or Ref(namespace, "probe"))


def denying(target: Target, message: str) -> Admission:
    """Return a ValidatingAdmissionPolicy that denies every write with a message."""
    rule = {"validations": [{"expression": "false", "message": message}]}
    return Admission("ValidatingAdmissionPolicy", target, rule)


def changing(target: Target, *operations: str) -> Admission:
    """Return a MutatingAdmissionPolicy with JSON patch operations, each with its fields in CEL."""
    patches = (f"[JSONPatch{{{each}}}]" for each in operations)
    mutations = [{"patchType": "JSONPatch", "jsonPatch": {"expression": each}} for each in patches]
    rule = {"reinvocationPolicy": "Never", "mutations": mutations}
    return Admission("MutatingAdmissionPolicy", target, rule)


def uncalled(target: Target, kind: str) -> Admission:
    """Return a webhook that the API server must call for each write, and that nobody serves."""
    return Admission(f"{kind}WebhookConfiguration", target)


@asynccontextmanager
async def _in_force(
    admission: Admission, stage: Stage, namespace: str, probed: Ref
) -> AsyncIterator[str]:
    before = await _shape(stage, admission.target, probed)
    name = f"{stage.name}.example.com"
    objects = _objects(admission, name, namespace)
    await stage.person.put(*objects)
    try:
        await until(lambda: _shape(stage, admission.target, probed), lambda now: now != before)
        yield name
    finally:
        for each in reversed(objects):
            await stage.person.delete(each["kind"], Ref.of(each))


def _objects(admission: Admission, name: str, namespace: str) -> list[Manifest]:
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    within = {"namespaceSelector": selector}
    bare = {"apiVersion": API, "kind": admission.kind, "metadata": {"name": name}}
    rules = [admission.target.rule]
    if admission.kind.endswith("WebhookConfiguration"):
        webhook = {
            "name": name,
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "timeoutSeconds": 2,
            "clientConfig": {"url": f"https://127.0.0.1:{free_port()}/"},
            "rules": rules,
            **within,
        }
        return [{**bare, "webhooks": [webhook]}]
    spec = {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": rules},
        **admission.rule,
    }
    binding: Manifest = {"policyName": name, "matchResources": within}
    if admission.kind == "ValidatingAdmissionPolicy":
        binding["validationActions"] = ["Deny"]
    return [{**bare, "spec": spec}, {**bare, "kind": f"{admission.kind}Binding", "spec": binding}]


async def _shape(stage: Stage, target: Target, probed: Ref) -> str:
    """Return what the API server makes of a write that it does not store."""
    try:
        if "/" in target.resource:
            patch = {"status": {"observedGeneration": 1}}
            answer = await stage.person.edit(
                target.kind, probed, patch, subresource="status", dryRun="All"
            )
        else:
            version = "v1" if not target.group else f"{target.group}/v1"
            owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "none"}
            metadata = {
                "name": target.name or "probe",
                "namespace": probed.namespace,
                "labels": {MANAGED_BY: "probe"},
                "ownerReferences": [owner],
            }
            probe = {"apiVersion": version, "kind": target.kind, "metadata": metadata}
            if target.kind == "Event":
                probe["regarding"] = {"kind": "ConfigMap", "namespace": probed.namespace}
            answer = await stage.person.put(probe | target.probe, dryRun="All")
    except Refused as refused:
        return str(refused)
    labels = answer["metadata"].get("labels")
    parts = [answer.get(part) for part in ("spec", "data", "note", "status")]
    return json.dumps([labels, parts], sort_keys=True)
