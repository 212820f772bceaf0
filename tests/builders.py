"""Builders for the pure tests: manifests as users write them, and a cluster in memory.

A `Cluster` stores plain manifests as the API server does.
"""

import base64
import copy
import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from troth.pki.certificates.issuing import create_root
from troth.pki.certificates.pairs import plain_certificate
from troth.pki.encodings.pem import read_certificates
from troth.pki.keys.jwk import public_jwk
from troth.pki.keys.private import generate_key, load_private_key, private_key_pem
from troth.planning.moment import Moment
from troth.planning.plan import Plan
from troth.planning.planner import PLANNERS, plan
from troth.planning.steps.authorities import AddPlain, AdoptAuthority, CreateRoot, UpdateRetired
from troth.planning.steps.broker_credentials import ChangeCredential
from troth.planning.steps.certificates import IssueLeaf, UpdatePublic
from troth.planning.steps.objects import Apply, Remove, Restart, SetFinalizers
from troth.planning.steps.signing_keys import CreateTokenKey, UpdateIssuer
from troth.planning.steps.step import Step
from troth.planning.steps.webhooks import ChangeWebhookKeys, CompileEndpoint
from troth.reconcile.apply.keys.key_material import (
    adopted_secret,
    issuer_data,
    leaf_secret,
    plain_root,
    public_data,
    root_secret,
    token_key_secret,
    truststore_data,
)
from troth.reconcile.apply.keys.keyring import Keyring
from troth.reconcile.apply.secrets.credential_secrets import credential_secret
from troth.reconcile.apply.secrets.webhook_secrets import compiled, new_secret
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.trust.declarations.registry import Registry
from troth.world.facts.objects import (
    KEYSTORE_DIGEST,
    MANAGED_BY,
    OWNER_KIND,
    OWNER_NAME,
    RESTARTED_WITH,
)
from troth.world.index.rotations import rotation_key
from troth.world.keys import (
    Key,
    Keys,
    broker_key,
    domain_key,
    identity_key,
    policy_key,
    view_key,
    webhook_key,
)
from troth.world.observation.objects import decoded
from troth.world.observation.retired import RETIRED
from troth.world.outcomes.writes import IssuerViewWritten
from troth.world.watch_class import watch_class_of
from troth.world.world import World

Manifest = dict[str, Any]

OWN = "troth-system"
NOW = datetime(2027, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
YEAR = timedelta(days=365)


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def at(now: datetime) -> Moment:
    """Return a Moment of a process that has just started."""
    return Moment(now, 0.0, timedelta(0))


# Declarations


def namespace(name: str, **labels: str) -> Manifest:
    """Return a namespace with the label that the API server sets."""
    named = {"kubernetes.io/metadata.name": name, **labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": named}}


def domain(name: str = "production", **spec: Any) -> Manifest:
    """Return a trust domain that governs the namespaces labelled with its name."""
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "TrustDomain",
        "metadata": {"name": name},
        "spec": {
            "domain": f"{name}.example",
            "environment": name,
            "namespaceSelector": {"matchLabels": {"domain": name}},
            "authority": {"selfManaged": {}},
            "isolation": "Workload",  # a test that isolates namespaces says so
        }
        | spec,
    }


def identity(
    name: str = "payments",
    namespace: str = "shop",
    *,
    ports: Iterable[str | tuple[str, int] | tuple[str, int, str]] = (),
    accepts: Iterable[Manifest] = (),
    calls: Iterable[Manifest] = (),
    pods: Manifest | None = None,
    account: str = "",
    **spec: Any,
) -> Manifest:
    """Return an identity with mTLS whose pods are labelled `app: <name>`."""
    workload = {
        "serviceAccountName": account or name,
        "podSelector": pods or {"matchLabels": {"app": name}},
        "ports": [port(each) for each in ports],
    }
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "ServiceIdentity",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "workload": workload,
            "authentication": {"mtls": {}},
            "accepts": list(accepts),
            "calls": list(calls),
        }
        | spec,
    }


def rotation(
    kind: str = "ServiceIdentity",
    target: str = "payments",
    namespace: str = "shop",
    name: str = "",
    **spec: Any,
) -> Manifest:
    """Return a rotation of a resource's credential."""
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "CredentialRotation",
        "metadata": {"name": name or f"{target}-rotation", "namespace": namespace},
        "spec": {"target": {"kind": kind, "name": target}} | spec,
    }


def finding_exception(
    name: str = "legacy", namespace: str = "shop", *, now: datetime = NOW, **spec: Any
) -> Manifest:
    """Return an exception from the rule TR701 for thirty days."""
    usual = {
        "rules": ["TR701"],
        "owner": "team-legacy",
        "reason": "The supplier ships its own manifests.",
        "expiresAt": stamp(now + 30 * DAY),
    }
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "FindingException",
        "metadata": {"name": name, "namespace": namespace},
        "spec": usual | spec,
    }


def port(described: str | tuple[str, int] | tuple[str, int, str]) -> Manifest:
    match described:
        case str():
            return {"name": described, "port": 8443}
        case (name, number):
            return {"name": name, "port": number}
        case (name, number, protocol):
            return {"name": name, "port": number, "protocol": protocol}


def dns_suffix(suffix: str = "shop.example", **labels: str) -> Manifest:
    """Return a DNS suffix that belongs to the namespaces with these labels, or to all."""
    name = "kubernetes.io/metadata.name"
    anywhere = {"matchExpressions": [{"key": name, "operator": "Exists"}]}
    selector = {"matchLabels": labels} if labels else anywhere
    return {"suffix": suffix, "namespaceSelector": selector}


def accept(name: str, *ports: str, namespace: str | None = None, **more: Any) -> Manifest:
    return {"from": reference(name, namespace), "ports": list(ports or ("https",))} | more


def unverified(*ports: str, **peer: Any) -> Manifest:
    return {
        "unverified": {**peer, "reason": "public traffic enters here"},
        "ports": list(ports or ("https",)),
    }


def call(name: str, *ports: str, namespace: str | None = None, **more: Any) -> Manifest:
    return {"to": reference(name, namespace), "ports": list(ports or ("https",))} | more


def external(*cidrs: str, ports: Iterable[int] = (443,)) -> Manifest:
    return {"external": {"host": "api.example.com", "cidrs": list(cidrs), "ports": list(ports)}}


def reference(name: str, namespace: str | None = None) -> Manifest:
    return {"name": name} | ({"namespace": namespace} if namespace else {})


def gateway_only(name: str, until: datetime, namespace: str | None = None) -> Manifest:
    return {
        "gatewayOnly": {
            "gateway": reference(name, namespace),
            "reason": "the vendor's program speaks no TLS",
            "owner": "team payments",
            "expiresAt": stamp(until),
        }
    }


def service(name: str, namespace: str = "shop", **selector: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": selector},
    }


def endpoint_slice(*addresses: str, port: int = 6443, name: str = "kubernetes") -> Manifest:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": name,
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [each], "conditions": {"ready": True}} for each in addresses],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }


def secret(name: str, namespace: str = OWN, **data: bytes) -> Manifest:
    """Return a Secret; `tls_crt` stands for tls.crt."""
    encoded = {
        key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "data": encoded,
    }


@cache
def root(trust_domain: str, which: str = "first", *, constrained: bool = True) -> tuple[bytes, str]:
    """Return a root's certificate and key as PEM, the same for the whole run."""
    key = generate_key(KeyAlgorithm.ECDSA_P256)
    certificate = create_root(trust_domain, key, YEAR, NOW, constrained=constrained)
    return certificate, private_key_pem(key).decode()


@cache
def plain(trust_domain: str, which: str) -> bytes:
    """Return the plain certificate of a root, the same for the whole run."""
    certificate, key = root(trust_domain, which, constrained=True)
    (confined,) = read_certificates(certificate, "the root")
    return plain_certificate(confined, load_private_key(key.encode()))


def authority_secret(
    name: str = "production", which: str = "first", *, constrained: bool = True, old: bool = False
) -> Manifest:
    """Return the Secret of a root that Troth created earlier for a domain of this name.

    An `old` one has no plain certificate, as of a version that did not create it.
    """
    certificate, key = root(f"{name}.example", which, constrained=constrained)
    data = {"tls_crt": certificate, "tls_key": key.encode()}
    if constrained and not old:
        data["plain_crt"] = plain(f"{name}.example", which)
    return owned(secret(f"{name}-authority", OWN, **data), "TrustDomain", name)


@cache
def token_key(which: str = "first") -> bytes:
    """Return a token signing key as PEM, the same for the whole run."""
    return private_key_pem(generate_key(KeyAlgorithm.ECDSA_P256))


def tokens_secret(name: str = "production", made: datetime = NOW, **data: bytes) -> Manifest:
    """Return the Secret of a domain's issuer, during a rotation of its key.

    Without `data` it has the current, the next and the retiring key.
    """
    before = load_private_key(token_key("before")).public_key()
    assert isinstance(before, ec.EllipticCurvePublicKey)
    keys = data or {
        "current_key": token_key(),
        "current_made": stamp(made).encode(),
        "next_key": token_key("next"),
        "next_made": stamp(made).encode(),
        "retiring_jwk": json.dumps(public_jwk(before)).encode(),
    }
    return owned(secret(f"{name}-tokens", OWN, **keys), "TrustDomain", name)


def owned(manifest: Manifest, kind: str, name: str) -> Manifest:
    """Return the object with the labels of an owned object of a resource."""
    labels = {MANAGED_BY: "troth", OWNER_KIND: kind, OWNER_NAME: name}
    metadata = {**manifest["metadata"], "labels": labels}
    return {**manifest, "metadata": metadata}


# Parsed resources


def parsed_domain(manifest: Manifest) -> TrustDomain:
    return TrustDomain.parse(manifest)


def parsed_identity(manifest: Manifest) -> ServiceIdentity:
    return ServiceIdentity.parse(manifest)


def registry(*manifests: Manifest) -> Registry:
    """Return a registry of everything that these manifests declare."""
    declared = Registry()
    for manifest in manifests:
        match manifest["kind"]:
            case "TrustDomain":
                declared.put_domain(parsed_domain(manifest))
            case "ServiceIdentity":
                declared.put_identity(parsed_identity(manifest))
            case "Namespace":
                metadata = manifest["metadata"]
                declared.put_namespace(metadata["name"], metadata["labels"])
            case "WebhookEndpoint":
                declared.put_webhook(WebhookEndpoint.parse(manifest))
    return declared


# A cluster in memory


@dataclass
class Cluster:
    """Objects, the World that observes them, and the immediate execution of plans."""

    world: World = field(default_factory=lambda: World(OWN))
    objects: dict[tuple[str, Ref], Manifest] = field(default_factory=dict)
    version: int = 100
    now: datetime = NOW
    uptime: float = 0.0
    set_forward: timedelta = timedelta(0)
    keyring: Keyring = field(default_factory=lambda: Keyring(OWN))

    @classmethod
    def of(cls, *manifests: Manifest) -> "Cluster":
        cluster = cls()
        for manifest in manifests:
            cluster.put(manifest)
        return cluster

    @property
    def moment(self) -> Moment:
        return Moment(self.now, self.uptime, self.set_forward)

    def put(self, manifest: Manifest) -> Keys:
        """Create or replace an object, as the API server stores it."""
        self.version += 1
        place = manifest["kind"], Ref.of(manifest)
        before = self.objects.get(place)
        stored = copy.deepcopy(manifest)
        metadata = stored["metadata"]
        metadata["uid"] = before["metadata"]["uid"] if before else _uid(*place, self.version)
        metadata["resourceVersion"] = str(self.version)
        known = before["metadata"].get("generation", 1) if before else 0
        changed = before is None or before.get("spec") != stored.get("spec")
        metadata["generation"] = known + changed
        if before and "status" in before:
            stored.setdefault("status", before["status"])
        for kept in ("finalizers", "deletionTimestamp", "creationTimestamp"):
            if before and kept in before["metadata"]:
                metadata.setdefault(kept, before["metadata"][kept])
        return self.see(stored)

    def drop(self, kind: str, ref: Ref) -> Keys:
        """Delete an object."""
        self.version += 1
        gone = self.objects.pop((kind, ref), None)
        if kind == "Secret":
            self.keyring.forget(ref)
        return self.world.forget(
            watch_class_of(gone, OWN) if gone else kind, ref, self.version, uptime=self.uptime
        )

    def delete(self, kind: str, ref: Ref) -> Keys:
        """Delete an object as a user does: it stays until its finalizers are removed."""
        stored = copy.deepcopy(self.objects[kind, ref])
        if not stored["metadata"].get("finalizers"):
            return self.drop(kind, ref)
        stored["metadata"].setdefault("deletionTimestamp", stamp(self.now))
        return self.put(stored)

    def see(self, manifest: Manifest) -> Keys:
        """Store and observe an object as the API server returns it."""
        if manifest["kind"] == "Secret":
            self.keyring.observe(manifest)
        self.objects[manifest["kind"], Ref.of(manifest)] = manifest
        return self.world.observe(copy.deepcopy(manifest), uptime=self.uptime)

    def keys(self) -> list[Key]:
        """Return the key of every resource, domains first."""
        names = [ref for kind, ref in sorted(self.objects) if kind == "TrustDomain"]
        refs = [ref for kind, ref in sorted(self.objects) if kind == "ServiceIdentity"]
        rotations = [ref for kind, ref in sorted(self.objects) if kind == "CredentialRotation"]
        return [
            *(domain_key(ref.name) for ref in names),
            *(identity_key(ref) for ref in refs),
            *(rotation_key(ref) for ref in rotations),
            *(key for key in self._messaging() if key.kind in PLANNERS),
        ]

    def _messaging(self) -> Iterator[Key]:
        declared = (
            ("MessageBroker", broker_key),
            ("TopicPolicy", policy_key),
            ("WebhookEndpoint", webhook_key),
        )
        for kind, key in declared:
            yield from (key(ref) for each, ref in sorted(self.objects) if each == kind)

    def views(self) -> list[Key]:
        """Return the key of each issuer's view."""
        return [
            view_key(ref.name)
            for (kind, ref), each in sorted(self.objects.items())
            if kind == "TrustDomain" and "tokens" in each["spec"]
        ]

    def plan(self, key: Key) -> Plan:
        return plan(key, self.world, self.moment)

    def carry_out(self, step: Step) -> Keys:
        """Carry out a step as the executor does."""
        match step:
            case Apply():
                return self.put(_merged(self.objects, step.manifest))
            case CreateRoot():
                return self.put(root_secret(step, self.now))
            case IssueLeaf():
                signer = self.keyring.signer(step.authority_secret, step.trust_domain)
                assert signer is not None
                assert signer.authority.fingerprint == step.authority
                key = generate_key(step.algorithm)
                return self.put(leaf_secret(step, key, signer, self.now))
            case UpdatePublic():
                return self.put(self._with_public(step))
            case Remove():
                return self.drop(step.kind, step.ref)
            case Restart():
                return self.put(self._restarted(step))
            case AdoptAuthority():
                signer = self.keyring.signer(step.source, step.trust_domain)
                assert signer is not None
                assert signer.authority.fingerprint == step.authority
                return self.put(adopted_secret(step, signer))
            case ChangeCredential() | ChangeWebhookKeys() | CompileEndpoint():
                return self._keep_secret(step)
            case _:
                return self._carry_out_in_place(step)

    def _carry_out_in_place(self, step: Step) -> Keys:
        match step:
            case SetFinalizers():
                return self._set_finalizers(step)
            case AddPlain():
                return self._add_plain(step)
            case _:
                return self._serve_issuer(step)

    def _add_plain(self, step: AddPlain) -> Keys:
        stored = copy.deepcopy(self.objects["Secret", step.ref])
        assert stored["metadata"]["resourceVersion"] == step.resource_version
        signer = self.keyring.signer(step.ref, step.trust_domain)
        assert signer is not None
        assert signer.authority.fingerprint == step.authority
        return self.put({**stored, "data": stored["data"] | plain_root(signer)})

    def _change_credential(self, step: ChangeCredential) -> Keys:
        before = self.keyring.credential_data(step)
        assert before is not None, "the Secret is another than was planned with"
        return self.put(credential_secret(step, before, self.now))

    def _keep_secret(self, step: ChangeCredential | ChangeWebhookKeys | CompileEndpoint) -> Keys:
        place = "Secret", Ref.of(step.manifest)
        if isinstance(step, ChangeCredential):
            return self._change_credential(step)
        if isinstance(step, ChangeWebhookKeys):
            made = new_secret(step, self.now)
            before = self.objects.get(place, made)
            data = {**before["data"], **made["data"]}
            kept = {name: text for name, text in data.items() if text is not None}
            return self.put({**made, "data": kept})
        found = self.objects.get(("Secret", step.source), {}) if step.source else {}
        there = {name: base64.b64decode(text) for name, text in found.get("data", {}).items()}
        return self.put(compiled(step, {key: there[key] for key in step.keys}))

    def _set_finalizers(self, step: SetFinalizers) -> Keys:
        changed = copy.deepcopy(self.objects[step.kind, step.ref])
        metadata = changed["metadata"]
        assert (metadata["uid"], metadata["resourceVersion"]) == (step.uid, step.resource_version)
        if metadata.get("deletionTimestamp"):
            assert set(step.finalizers) <= set(metadata["finalizers"]), "none is put on any more"
            if not step.finalizers:
                return self.drop(step.kind, step.ref)
        metadata["finalizers"] = list(step.finalizers)
        return self.put(changed)

    def _serve_issuer(self, step: Step) -> Keys:
        match step:
            case CreateTokenKey():
                return self.put(token_key_secret(step, self.now))
            case UpdateIssuer():
                before = copy.deepcopy(self.objects["Secret", step.ref])
                before["data"] |= issuer_data(step)
                if "view.json.gz" in step.data:
                    self.world.observe_outcome(IssuerViewWritten(step.ref, self.uptime))
                return self.put(before)
            case UpdateRetired() if set(step.slots) <= {RETIRED}:  # it retires nothing
                stored = copy.deepcopy(self.objects["Secret", step.ref])
                assert stored["metadata"]["resourceVersion"] == step.resource_version
                for slot in step.slots:
                    del stored["data"][slot]
                if step.records:
                    stored["data"][RETIRED] = base64.b64encode(step.records).decode()
                return self.put(stored)
            case _:
                return set()  # tests/reconcile/test_*rotation.py test the other steps

    def visit(self, key: Key) -> Plan:
        """Carry out one plan, write the status, and return the plan after that."""
        made = self.plan(key)
        steps = made.pending(self.world)
        for step in steps:
            self.carry_out(step)
        return self.report(key, None if steps else made)

    def report(self, key: Key, made: Plan | None = None) -> Plan:
        """Write a resource's status as planned; return the plan after that.

        `made` is an earlier plan, if nothing has changed since.
        """
        made = made or self.plan(key)
        stored = self.objects.get((key.kind, key.ref))
        if stored is None or made.status is None or made.status == made.previous_status:
            return made
        self.put({**stored, "status": copy.deepcopy(dict(made.status))})
        return self.plan(key)

    def settle(self) -> "Cluster":
        """Reconcile every key until nothing changes any more."""
        for _ in range(6):
            before = self.version
            for key in (*self.keys(), *self.views()):
                self.visit(key)
            if self.version == before:
                return self
        raise AssertionError("does not settle")

    def condition(self, key: Key, type_: str) -> Manifest:
        """Return one condition of a resource as planned now."""
        status = self.plan(key).status
        assert status is not None
        found: Manifest = next(each for each in status["conditions"] if each["type"] == type_)
        return found

    def policies(self) -> list[Manifest]:
        return [each for (kind, _), each in sorted(self.objects.items()) if kind == "NetworkPolicy"]

    def _restarted(self, step: Restart) -> Manifest:
        restarted = copy.deepcopy(self.objects[step.kind, step.ref])
        template = restarted["spec"]["template"]["metadata"]
        template["annotations"] = template.get("annotations", {}) | {RESTARTED_WITH: step.evidence}
        return restarted

    def _with_public(self, step: UpdatePublic) -> Manifest:
        before = copy.deepcopy(self.objects["Secret", Ref.of(step.manifest)])
        labels = {**(before["metadata"].get("labels") or {}), **step.manifest["metadata"]["labels"]}
        before["metadata"]["labels"] = labels
        annotations = step.manifest["metadata"].get("annotations", {})
        existing = before["metadata"].get("annotations") or {}
        before["metadata"]["annotations"] = {**existing, **annotations}
        if step.truststore:
            assert before["metadata"]["resourceVersion"] == step.over
            truststore, digest = truststore_data(step, decoded(before))
            before["data"] |= truststore
            before["metadata"]["annotations"][KEYSTORE_DIGEST] = digest
        before["data"] |= public_data(step.manifest)
        for name in step.drops:
            before["data"].pop(name, None)
        return before


def _merged(objects: dict[tuple[str, Ref], Manifest], manifest: Manifest) -> Manifest:
    """Return an applied object: labels of others stay, and nothing else of the old object."""
    before = objects.get((manifest["kind"], Ref.of(manifest)))
    merged = copy.deepcopy(manifest)
    if before is not None:
        theirs = before["metadata"].get("labels") or {}
        merged["metadata"]["labels"] = {**theirs, **merged["metadata"]["labels"]}
    return merged


def _uid(kind: str, ref: Ref, version: int) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{kind}/{ref}/{version}"))


def key_of(name: str = "payments", namespace: str = "shop") -> Key:
    return identity_key(Ref(namespace, name))


def shop(*manifests: Manifest) -> Cluster:
    """Return a cluster with the governed namespace `shop`, a root, and the given objects."""
    return Cluster.of(
        namespace("shop", domain="production"),
        domain(),
        authority_secret(),
        *manifests,
    )
