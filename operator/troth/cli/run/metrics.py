"""Prometheus metrics: counted as events happen, or read from the world at each scrape."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client import Counter as MetricCounter
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from troth.cli.run.broker_metrics import PLACE, broker_metrics
from troth.cli.run.document_metrics import document_metrics
from troth.pki.certificates.leaf import short
from troth.reconcile.loop.informers import selections
from troth.reconcile.operator import Operator
from troth.reconcile.runtime.instrumentation import BrokerChange, Instrumentation
from troth.resources.conditions import Condition
from troth.resources.identity.spec import ServiceIdentity
from troth.resources.kinds import KINDS
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref
from troth.resources.rotation.spec import CredentialRotation
from troth.resources.trust_domain.spec import TrustDomain
from troth.resources.trust_domain.status import RotationPhase
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.serving.tracing import Tracer
from troth.world.facts.objects import KnownAuthority
from troth.world.keys import ISSUER_VIEW
from troth.world.world import Difference

WAITS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
"""Upper bounds of waits in the queue in seconds."""
UNKNOWN = "unknown"
"""Label for leaves that no current authority of the trust domain has issued."""


@dataclass(slots=True)
class Metrics:
    """The metrics of one process."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: MetricCounter = field(init=False)
    reconciles: Histogram = field(init=False)
    queue_waits: Histogram = field(init=False)
    drift_restored: MetricCounter = field(init=False)
    broker_failures: MetricCounter = field(init=False)
    broker_changes: MetricCounter = field(init=False)
    cache_inconsistencies: MetricCounter = field(init=False)
    store_restores: MetricCounter = field(init=False)

    def __post_init__(self) -> None:
        self.requests = MetricCounter(
            "troth_api_requests",
            "Requests to the API server.",
            ("verb", "resource", "code"),
            registry=self.registry,
        )
        self.reconciles = Histogram(
            "troth_reconcile_duration_seconds",
            "Duration of a reconcile.",
            ("kind", "outcome"),
            registry=self.registry,
        )
        self.queue_waits = Histogram(
            "troth_queue_wait_seconds",
            "Time from queueing a resource until its reconcile began.",
            ("kind",),
            buckets=WAITS,
            registry=self.registry,
        )
        self.drift_restored = MetricCounter(
            "troth_drift_restored",
            "Restored drift, by the kind of the resource whose objects differed.",
            ("kind",),
            registry=self.registry,
        )
        for kind in (*(each.name for each in KINDS), ISSUER_VIEW):
            self.drift_restored.labels(kind)  # an alert does not see an increase from nothing
        self.broker_failures = MetricCounter(
            "troth_broker_failures",
            "Failed observations and changes at a broker, by reason.",
            (*PLACE, "reason"),
            registry=self.registry,
        )
        self.broker_changes = MetricCounter(
            "troth_broker_changes",
            "Changed credentials and rules at a broker, by kind of change.",
            (*PLACE, "change"),
            registry=self.registry,
        )

        self.cache_inconsistencies = MetricCounter(
            "troth_cache_inconsistencies",
            "Wrong objects in the cache, found and repaired by a resync; each is a bug.",
            ("kind", "difference"),
            registry=self.registry,
        )
        for kind in {each.kind for each in selections("", rollouts=True)}:
            # an alert does not see an increase if a series starts at 1
            for difference in set(Difference) - {Difference.NEWER}:  # that is no bug
                self.cache_inconsistencies.labels(kind, difference)
        self.store_restores = MetricCounter(
            "troth_store_restores",
            "Times that the operator found the API server's store restored from an earlier state.",
            registry=self.registry,
        )

    def request(self, verb: str, resource: str, code: str) -> None:
        """Count a request."""
        self.requests.labels(verb, resource, code).inc()

    def instrumentation(self, tracer: Tracer | None = None) -> Instrumentation:
        """Return the callbacks of the engine, with its tracer."""
        return Instrumentation(
            visited=lambda kind, outcome, seconds: self.reconciles.labels(kind, outcome).observe(
                seconds
            ),
            waited=lambda kind, seconds: self.queue_waits.labels(kind).observe(seconds),
            restored=lambda kind: self.drift_restored.labels(kind).inc(),
            broker_failed=lambda broker, reason: self.broker_failures.labels(*broker, reason).inc(),
            broker_changed=self._broker_changed,
            cache_differed=lambda kind, how: self.cache_inconsistencies.labels(kind, how).inc(),
            store_restored=self.store_restores.inc,
            tracer=tracer,
        )

    def _broker_changed(self, broker: Ref, change: BrokerChange, count: int) -> None:
        self.broker_changes.labels(*broker, change.value).inc(count)

    def read_from(self, operator: Operator) -> None:
        """Read the operator's world at each scrape."""
        self.registry.register(_WorldCollector(operator))


class _WorldCollector(Collector):
    """Reads the world. Leader and standbys export the same values."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator

    def collect(self) -> Iterator[Metric]:
        engine, leadership = self._operator.engine, self._operator.leadership
        yield self._leader()
        yield GaugeMetricFamily(
            "troth_clock_skew_seconds",
            "Time by which this replica's clock is ahead of the API server's, negative if behind. "
            "Beyond 300 either way, it does not lead.",
            self._operator.clock_skew,
        )
        yield GaugeMetricFamily(
            "troth_claim_held_by_other",
            "1 if an operator in another namespace has the claim of the cluster.",
            self._operator.claim.holder != "" and not self._operator.claim.is_own,
        )
        yield GaugeMetricFamily(
            "troth_queue_depth",
            "Resources that wait for a reconcile or are being reconciled.",
            len(engine.queue),
        )
        yield GaugeMetricFamily(
            "troth_queue_oldest_wait_seconds",
            "Time for which the resource that waits longest has waited; 0 on a standby.",
            engine.queue.oldest_wait if leadership.acting else 0,
        )
        yield self._watches()
        yield self._crds()
        yield self._resources()
        yield self._unreadable()
        yield from self._out_of_step()
        yield from self._certificates()
        yield self._authorities()
        yield self._leaves()
        yield from self._phases()
        yield self._rotations()
        yield self._unverified()
        yield from broker_metrics(engine.world.brokers, engine.uptime)
        yield from document_metrics(engine.world)

    def _leader(self) -> Metric:
        """Return whether this replica leads; with several shards, one sample for each."""
        family = GaugeMetricFamily(
            "troth_leader",
            "1 while this replica is the leader and may write.",
            labels=("shard",),
        )
        for fence in self._operator.shard_fences:
            if fence.shares_lease:  # while another layout has the Lease, nobody has this shard
                family.add_metric((str(fence.shard),), fence.remaining > 0)
        if not self._operator.shard_fences:
            family.add_metric((), self._operator.leadership.acting)
        return family

    def _watches(self) -> Metric:
        family = GaugeMetricFamily(
            "troth_watch_age_seconds",
            "Time since this replica last read the objects of a kind, by a list or a watch. The "
            "namespace is empty for those of all namespaces.",
            labels=("kind", "namespace"),
        )
        for informer in (*self._operator.watching, *self._operator.of_metadata):
            selection = informer.selection
            family.add_metric((selection.watch_class, selection.namespace), informer.age)
        return family

    def _crds(self) -> Metric:
        family = GaugeMetricFamily(
            "troth_crd_fields_missing",
            "Fields that an installed CRD lacks. While it lacks any, this replica does nothing.",
            labels=("crd",),
        )
        for name, lacks in self._operator.crds.lacking.items():
            family.add_metric((name,), len(lacks))
        return family

    def _resources(self) -> Metric:
        world = self._operator.engine.world
        brokers = world.brokers
        resources: tuple[
            TrustDomain
            | ServiceIdentity
            | MessageBroker
            | TopicPolicy
            | WebhookEndpoint
            | CredentialRotation,
            ...,
        ] = (
            *world.registry.domains.values(),
            *world.registry.claimants.values(),
            *brokers.messaging.brokers.values(),
            *brokers.leaving_brokers.values(),
            *brokers.messaging.policies.values(),
            *brokers.leaving_policies.values(),
            *world.registry.webhooks.endpoints.values(),
            *world.registry.webhooks.terminating.values(),
            *world.rotations.by_ref.values(),
        )
        counts = Counter((each.kind, *_ready(each.status.conditions)) for each in resources)
        family = GaugeMetricFamily(
            "troth_resources",
            "Resources by their Ready condition.",
            labels=("kind", "ready", "reason"),
        )
        for labels, count in counts.items():
            family.add_metric(labels, count)
        return family

    def _unreadable(self) -> Metric:
        world = self._operator.engine.world
        family = GaugeMetricFamily(
            "troth_unreadable_objects",
            "Objects that Troth cannot read, by kind. They grant nothing until they are fixed.",
            labels=("kind",),
        )
        unreadable = {*world.quarantined, *((key.kind, key.ref) for key in world.unreadable)}
        for kind, count in Counter(kind for kind, _ in unreadable).items():
            family.add_metric((kind,), count)
        return family

    def _out_of_step(self) -> Iterator[Metric]:
        engine = self._operator.engine
        refused = GaugeMetricFamily(
            "troth_writes_refused",
            "Objects that differ from what is declared, because the API server rejects writes.",
            labels=("kind",),
        )
        for kind, count in engine.refusals.count().items():
            refused.add_metric((kind,), count)
        contested = GaugeMetricFamily(
            "troth_objects_contested",
            "Objects that another client changes each time Troth restores them.",
            labels=("kind",),
        )
        for kind, count in engine.repairs.count().items():
            contested.add_metric((kind,), count)
        faulty = GaugeMetricFamily(
            "troth_internal_errors",
            "Resources whose last reconcile raised an exception, which is a bug in Troth.",
            labels=("kind",),
        )
        for kind, count in engine.faults.count().items():
            faulty.add_metric((kind,), count)
        closed = GaugeMetricFamily(
            "troth_identities_not_narrowed",
            "Identities with closed edges, because their identity.json grants more than is "
            "declared and cannot be written.",
            len(engine.world.registry.unapplied),
        )
        yield from (refused, contested, faulty, closed)

    def _certificates(self) -> Iterator[Metric]:
        expiry = GaugeMetricFamily(
            "troth_certificate_expiration_timestamp_seconds",
            "Expiration time of an identity's certificate.",
            labels=("namespace", "name"),
        )
        renewal = GaugeMetricFamily(
            "troth_certificate_renewal_timestamp_seconds",
            "Time at which an identity's certificate is due for renewal.",
            labels=("namespace", "name"),
        )
        for ref, identity in self._operator.engine.world.registry.identities.items():
            if (certificate := identity.status.certificate) is not None:
                expiry.add_metric(ref, certificate.not_after.timestamp())
                renewal.add_metric(ref, certificate.renew_at.timestamp())
        yield from (expiry, renewal)

    def _authorities(self) -> Metric:
        family = GaugeMetricFamily(
            "troth_authority_expiration_timestamp_seconds",
            "Expiration time of a trust domain's authority.",
            labels=("trust_domain", "fingerprint", "state"),
        )
        for name, domain in self._operator.engine.world.registry.domains.items():
            for authority in domain.status.authorities:
                labels = (name, authority.fingerprint, authority.state.value)
                family.add_metric(labels, authority.not_after.timestamp())
        return family

    def _leaves(self) -> Metric:
        world, now = self._operator.engine.world, datetime.now(UTC)
        family = GaugeMetricFamily(
            "troth_leaves",
            "Certificates that have not expired, by the authority that issued them.",
            labels=("trust_domain", "authority"),
        )
        signed = Counter(
            (secret.leaf.spiffe_id.split("/")[2], secret.leaf.authority_key_id)
            for secret in world.secrets.values()
            if secret.leaf is not None and secret.leaf.not_after > now
        )
        for name, domain in world.registry.domains.items():
            authorities = _fingerprints(world.authorities.of(domain))
            counts = Counter(dict.fromkeys(authorities.values(), 0))
            for (trust_domain, key_id), count in signed.items():
                if trust_domain == domain.spec.domain:
                    counts[authorities.get(key_id, UNKNOWN)] += count
            for fingerprint, count in counts.items():
                family.add_metric((name, fingerprint), count)
        return family

    def _phases(self) -> Iterator[Metric]:
        authority = GaugeMetricFamily(
            "troth_rotation_phase",
            "1 for the current phase in the rotation of a trust domain's authority.",
            labels=("trust_domain", "phase"),
        )
        token_key = GaugeMetricFamily(
            "troth_token_rotation_phase",
            "1 for the current phase in the rotation of a trust domain's token key.",
            labels=("trust_domain", "phase"),
        )
        for name, domain in self._operator.engine.world.registry.domains.items():
            rotating = [(authority, domain.status.rotation)]
            if domain.spec.tokens is not None:
                rotating.append((token_key, domain.status.token_rotation))
            for family, rotation in rotating:
                for phase in RotationPhase:
                    family.add_metric((name, phase.value), phase is rotation.phase)
        yield from (authority, token_key)

    def _rotations(self) -> Metric:
        family = GaugeMetricFamily(
            "troth_credential_rotation_next_timestamp_seconds",
            "Start time of the next rotation, if none is requested earlier.",
            labels=("namespace", "name"),
        )
        for ref, rotation in self._operator.engine.world.rotations.by_ref.items():
            if rotation.status.next_rotation is not None:
                family.add_metric(
                    (ref.namespace, ref.name), rotation.status.next_rotation.timestamp()
                )
        return family

    def _unverified(self) -> Metric:
        family = GaugeMetricFamily(
            "troth_unverified_peers",
            "Unverified peers that an identity accepts.",
            labels=("namespace", "name"),
        )
        for ref, identity in self._operator.engine.world.registry.identities.items():
            count = sum(accepted.unverified is not None for accepted in identity.spec.accepts)
            if count:
                family.add_metric((ref.namespace, ref.name), count)
        return family


def _fingerprints(known: KnownAuthority | None) -> dict[str, str]:
    """Return the fingerprints of a trust domain's authorities, by subject key ID."""
    slots = known.slots if known else ()
    return {slot.subject_key_id: short(slot.fingerprint) for slot in slots}


def _ready(conditions: tuple[Condition, ...]) -> tuple[str, str]:
    for condition in conditions:
        if condition.type == "Ready":
            return condition.status.value, condition.reason
    return "Unknown", "Unvisited"
