"""Metrics of brokers: from their statuses, and from the last observation of each."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from troth.planning.grants.edges_validated import EDGES_VALIDATED, UNVALIDATED_CONSUMER
from troth.resources.conditions import Truth
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.world.facts.broker import NEVER
from troth.world.index.brokers import Brokers

PLACE = ("namespace", "name")


def broker_metrics(brokers: Brokers, uptime: float) -> Iterator[Metric]:
    """Yield the metrics of all brokers; `uptime` is that of this process, in seconds.

    All replicas of the operator read the same statuses. Only the leader observes brokers, so only
    the leader exports the age of the last observation.
    """
    known = {**brokers.messaging.brokers, **brokers.leaving_brokers}
    age = GaugeMetricFamily(
        "troth_broker_last_look_age_seconds",
        "Time since the leader last observed a broker.",
        labels=PLACE,
    )
    for ref in sorted(known):
        seen = brokers.observation(ref).at
        if seen != NEVER:
            age.add_metric(ref, uptime - seen)
    yield age  # before the others, because the world changes between two metrics
    for name, text, value in _OF_STATUS:
        family = GaugeMetricFamily(name, text, labels=PLACE)
        for ref, broker in sorted(known.items()):
            found = value(broker)
            if found is not None:
                family.add_metric(ref, found)
        yield family
    yield _grants(brokers)
    yield _edges(brokers)


def _reachable(broker: MessageBroker) -> float | None:
    """Return 1 if a broker is reachable, 0 if not, None if that is unknown."""
    for condition in broker.status.conditions:
        if condition.type == "Reachable" and condition.status is not Truth.UNKNOWN:
            return float(condition.status is Truth.TRUE)
    return None


_OF_STATUS: tuple[tuple[str, str, Callable[[MessageBroker], float | None]], ...] = (
    ("troth_broker_reachable", "1 if a broker is reachable, else 0.", _reachable),
    (
        "troth_broker_principals",
        "Principals that Troth manages at a broker.",
        lambda broker: broker.status.principals,
    ),
    (
        "troth_broker_foreign_rules",
        "Foreign rules at a broker, which Troth did not make.",
        lambda broker: broker.status.foreign_grants,
    ),
    (
        "troth_broker_braked_removals",
        "Rules whose removal from a broker the brake holds until a person allows it.",
        lambda broker: (
            None if broker.status.principals is None else broker.status.braked_removals or 0
        ),
    ),
)


def _edges(brokers: Brokers) -> Metric:
    family = GaugeMetricFamily(
        "troth_topic_edges_validated",
        "1 if every connected consumer of a policy names Troth's guard for events, 0 if one "
        "does not.",
        labels=PLACE,
    )
    for ref, policy in sorted(brokers.messaging.policies.items()):
        for condition in policy.status.conditions:
            if condition.type != EDGES_VALIDATED:
                continue
            # With an unguarded producer, nothing is known of consumers that reject its messages.
            validated = condition.status is Truth.TRUE
            if validated or condition.reason == UNVALIDATED_CONSUMER:
                family.add_metric(ref, validated)
    return family


def _grants(brokers: Brokers) -> Metric:
    family = GaugeMetricFamily(
        "troth_topic_grants",
        "Grants that policies or identities declare at a broker, by state.",
        labels=(*PLACE, "state"),
    )
    counts: Counter[tuple[Ref, str]] = Counter()
    for policy in brokers.messaging.policies.values():
        counts.update((policy.broker, grant.state.value) for grant in policy.status.grants)
    for (broker, state), count in sorted(counts.items()):
        family.add_metric((*broker, state), count)
    return family
