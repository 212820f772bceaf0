"""What Prometheus is told of brokers: from their statuses, and from the last look at each."""

from collections import Counter
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric

from troth.resources.conditions import Truth
from troth.resources.messaging.message_broker import MessageBroker
from troth.resources.references import Ref
from troth.world.facts.broker import NEVER
from troth.world.index.brokers import Brokers

PLACE = ("namespace", "name")


def broker_metrics(brokers: Brokers, uptime: float) -> Iterator[Metric]:
    """Yield what there is to tell of all brokers; `uptime` is that of this process, in seconds.

    Every copy of the operator reads the same statuses. Only the one that acts looks at brokers, so
    that it alone tells how long that is ago.
    """
    known = {**brokers.messaging.brokers, **brokers.leaving_brokers}
    for name, text, value in _OF_STATUS:
        family = GaugeMetricFamily(name, text, labels=PLACE)
        for ref, broker in sorted(known.items()):
            found = value(broker)
            if found is not None:
                family.add_metric(ref, found)
        yield family
    yield _grants(brokers)
    age = GaugeMetricFamily(
        "troth_broker_last_look_age_seconds",
        "How long ago a broker was last seen, by the copy that acts.",
        labels=PLACE,
    )
    for ref in sorted(known):
        seen = brokers.look(ref).at
        if seen != NEVER:
            age.add_metric(ref, uptime - seen)
    yield age


def _reachable(broker: MessageBroker) -> float | None:
    """Return whether a broker answers, None while that is not known."""
    for condition in broker.status.conditions:
        if condition.type == "Reachable" and condition.status is not Truth.UNKNOWN:
            return float(condition.status is Truth.TRUE)
    return None


_OF_STATUS: tuple[tuple[str, str, Callable[[MessageBroker], float | None]], ...] = (
    ("troth_broker_reachable", "1 for a broker that answers, 0 for one that does not.", _reachable),
    (
        "troth_broker_principals",
        "Principals that Troth has at a broker.",
        lambda broker: broker.status.principals,
    ),
    (
        "troth_broker_foreign_rules",
        "A broker's rules that are not Troth's.",
        lambda broker: broker.status.foreign_grants,
    ),
    (
        "troth_broker_braked_removals",
        "Rules that would be removed from a broker and wait for a person.",
        lambda broker: (
            None if broker.status.principals is None else broker.status.braked_removals or 0
        ),
    ),
)


def _grants(brokers: Brokers) -> Metric:
    family = GaugeMetricFamily(
        "troth_topic_grants",
        "Grants that policies or identities declare at a broker, by their state.",
        labels=(*PLACE, "state"),
    )
    counts: Counter[tuple[Ref, str]] = Counter()
    for policy in brokers.messaging.policies.values():
        counts.update((policy.broker, grant.state.value) for grant in policy.status.grants)
    for (broker, state), count in sorted(counts.items()):
        family.add_metric((*broker, state), count)
    return family
