"""One object of every watched kind, by its watch class."""

import copy
from collections.abc import Mapping

from tests import builders, messaging, webhook_builders, workloads
from tests.builders import NOW, OWN, Manifest
from troth.cluster.selection import Selection
from troth.reconcile.loop.cache import Cache, MetadataCache
from troth.reconcile.loop.engine import Engine
from troth.reconcile.loop.informers import metadata_selections, selections
from troth.resources.references import Ref
from troth.trust.declarations.watched import Watched
from troth.world.keys import METADATA_OF
from troth.world.watch_class import GIVEN, REPORTS, SCHEMA, SCHEMAS

POLICY: Manifest = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "payments-troth", "namespace": "shop"},
    "spec": {"podSelector": {"matchLabels": {"app": "payments"}}, "policyTypes": ["Ingress"]},
}
SCHEMA_MAP: Manifest = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "orders", "namespace": "shop", "labels": {SCHEMA: "true"}},
    "data": {"schema.json": '{"type": "object"}'},
}
BUNDLE: Manifest = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "trust-bundle", "namespace": "shop"},
    "data": {"ca.crt": "none yet"},
}

SELECTIONS = (
    *selections(OWN, rollouts=True),
    *metadata_selections(Watched.of(OWN, ["shop"])),
)
"""Selections of Troth that watches all namespaces, and those of metadata of one that does not."""

SAMPLES: Mapping[str, Manifest] = {
    "TrustDomain": builders.domain(),
    "ServiceIdentity": builders.identity(ports=["https"], accepts=[builders.accept("web")]),
    "MessageBroker": messaging.broker(),
    "TopicPolicy": messaging.policy(producers=[messaging.producer("payments")]),
    "WebhookEndpoint": webhook_builders.endpoint(),
    "CredentialRotation": builders.rotation(),
    "DeadLetterReview": messaging.review(),
    "Namespace": builders.namespace("shop", domain="production"),
    "Service": builders.service("payments", app="payments"),
    "EndpointSlice": builders.endpoint_slice("10.0.0.1"),
    "Secret": builders.owned(
        builders.secret("payments-identity", "shop"), "ServiceIdentity", "payments"
    ),
    GIVEN: webhook_builders.keys(),
    "ConfigMap": builders.owned(BUNDLE, "TrustDomain", "production"),
    SCHEMAS: SCHEMA_MAP,
    REPORTS: webhook_builders.report(main=NOW),
    "NetworkPolicy": builders.owned(POLICY, "ServiceIdentity", "payments"),
    **{kind: workloads.workload(kind=kind) for kind in workloads.APPS},
    "PodDisruptionBudget": workloads.budget(),
    **{
        each: {"kind": each, "metadata": {"name": "main", "namespace": "legal"}}
        for each in METADATA_OF.values()
    },
}
EVERY_KIND = tuple(SAMPLES)


def sample(kind: str, version: int, uid: str = "first") -> Manifest:
    """Return the object of a kind at a resource version, as the API server returns it."""
    manifest = copy.deepcopy(SAMPLES[kind])
    manifest["metadata"] |= {"resourceVersion": str(version), "uid": uid, "generation": 1}
    return manifest


def selection_of(kind: str) -> Selection:
    """Return the selection that lists and watches the object of a kind."""
    ref = Ref.of(SAMPLES[kind])
    (found,) = (each for each in SELECTIONS if each.watch_class == kind and each.covers(ref))
    return found


def cache_of(kind: str, engine: Engine) -> Cache:
    """Return the sink of the informer of a kind."""
    return MetadataCache(engine) if selection_of(kind).metadata_only else Cache(engine)
