"""Oracle of operations at brokers, written from the reference alone.

It works on manifests, not on models, and shares no code with `troth`. It judges single operations:
whether an identity may publish to one topic, or consume it in one group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.networkpolicy import selects
from tests.oracle import Declared, place_of

Manifest = dict[str, Any]
Place = tuple[str, str]
Uses = dict[Place, tuple[list[Place], list[Place]]]
"""Policies under which an identity publishes, and consumes."""


@dataclass(frozen=True)
class Operation:
    """Operation that an identity attempts at a broker."""

    broker: Place
    identity: Place
    action: str
    topic: str
    group: str = ""
    stream: str = ""


@dataclass
class Brokers:
    """Everything declared, by kind."""

    declared: Declared
    brokers: dict[Place, Manifest]
    policies: dict[Place, Manifest]
    uses: Uses

    @classmethod
    def by(cls, declared: Declared, manifests: list[Manifest], uses: Uses) -> "Brokers":
        return cls(
            declared,
            {place_of(m): m["spec"] for m in manifests if m["kind"] == "MessageBroker"},
            {place_of(m): m["spec"] for m in manifests if m["kind"] == "TopicPolicy"},
            uses,
        )

    def permits(self, tried: Operation) -> bool:
        return any(
            self._by_policy(place, tried)
            for place, spec in self.policies.items()
            if _means(spec["brokerRef"], place[0]) == tried.broker
        )

    def _by_policy(self, place: Place, tried: Operation) -> bool:
        """A grant by the policy's topic, or a consumer's grant for its dead-letter topic."""
        spec = self.policies[place]
        publishes, consumes = self.uses.get(tried.identity, ([], []))
        if tried.action == "Publish":
            directly = (
                tried.identity in _named(spec["producers"], place[0])
                and place in publishes
                and _about(spec["topic"], tried.topic)
                and tried.stream == spec["topic"].get("stream", "")
            )
            as_consumer = (
                tried.identity in _named(spec["consumers"], place[0])
                and place in consumes
                and spec.get("deadLetter", {}).get("topic") == tried.topic
                and not tried.stream
            )
            agreed = (
                tried.group == ""
                and (directly or as_consumer)
                and (
                    (directly and self._allowed(place, tried, spec["topic"]))
                    or (as_consumer and self._allowed(place, tried, {"name": tried.topic}))
                )
            )
        else:
            groups = {
                each.get("group", "")
                for each in spec["consumers"]
                if _means(each["identity"], place[0]) == tried.identity
            }
            agreed = (
                tried.group in groups
                and place in consumes
                and _about(spec["topic"], tried.topic)
                and tried.stream == spec["topic"].get("stream", "")
                and self._group_fits(tried, spec)
                and self._group_owned(tried)
                and not self._group_shared(tried, spec)
                and self._account_fits(tried, spec)
                and self._allowed(place, tried, spec["topic"])
            )
        return agreed

    def _allowed(self, place: Place, tried: Operation, topic: Manifest) -> bool:
        """The broker's owner, both namespaces and the identity itself must allow the operation."""
        spec, broker = self.policies[place], self.brokers.get(tried.broker)
        return (
            broker is not None
            and tried.identity in self.declared.identities
            and all(
                self._at_home(namespace, spec, broker)
                for namespace in (place[0], tried.identity[0])
            )
            and broker["environment"] == spec["environment"]
            # "the topic lies within the broker's owned prefixes"
            and any(
                (topic.get("name") or topic["prefix"]).startswith(owned)
                for owned in broker["owns"]["topicPrefixes"]
            )
            and ("stream" not in spec["topic"] or "nats" in broker)
            and spec["topic"].get("stream", "") in ["", *broker["owns"].get("streams", [])]
            and not self.declared.shared(tried.identity)
            and self._provable(tried.identity, broker)
            and not self._principal_shared(tried.broker)
            and not self._disputed(spec["environment"], topic, broker)
        )

    def _at_home(self, namespace: str, policy: Manifest, broker: Manifest) -> bool:
        """The namespace must be of the environment, and the broker must admit it."""
        governor = self.declared.governor(namespace)
        return (
            governor is not None
            and self.declared.domains[governor]["environment"] == policy["environment"]
            and self._admitted(namespace, broker)
        )

    def _admitted(self, namespace: str, broker: Manifest) -> bool:
        labels = self.declared.namespaces.get(namespace)
        return labels is not None and selects(broker["allowedNamespaces"], labels)

    def _group_fits(self, tried: Operation, policy: Manifest) -> bool:
        """ "A group where the broker has groups": Kafka and Valkey always, a stream of NATS too."""
        broker = self.brokers.get(tried.broker, {})
        if "kafka" in broker or "valkey" in broker:
            return tried.group != ""
        if "rabbitmq" in broker:
            return tried.group == ""
        return "stream" not in policy["topic"] or tried.group != ""

    def _group_owned(self, tried: Operation) -> bool:
        owned = self.brokers.get(tried.broker, {}).get("owns", {}).get("groupPrefixes", [])
        return not tried.group or any(tried.group.startswith(each) for each in owned)

    def _group_shared(self, tried: Operation, policy: Manifest) -> bool:
        """One identity per group, unless both owners say that it is shared.

        Groups of Kafka belong to the whole cluster, durables to a stream, queues to their topics.
        """
        mine = self.brokers.get(tried.broker, {})
        return any(
            tried.group
            and each.get("group", "") == tried.group
            and _means(each["identity"], place[0]) != tried.identity
            and not all(tried.group in b["owns"].get("sharedGroups", []) for b in (mine, theirs))
            and (
                "kafka" in mine
                or (
                    spec["topic"].get("stream") == policy["topic"].get("stream")
                    and ("stream" in spec["topic"] or _common(spec["topic"], policy["topic"]))
                )
            )
            for place, spec in self.policies.items()
            for each in spec["consumers"]
            if (theirs := self.brokers.get(_means(spec["brokerRef"], place[0]))) is not None
            and _servers(theirs) & _servers(mine)
            and _part(mine) == _part(theirs)
            and self._admitted(place[0], theirs)
        )

    def _account_fits(self, tried: Operation, policy: Manifest) -> bool:
        """In an account of NATS either everybody consumes from streams, or nobody does."""
        mine = self.brokers.get(tried.broker, {})
        if "nats" not in mine:
            return True
        owning = {
            bool(theirs["owns"].get("streams"))
            for theirs in self.brokers.values()
            if _servers(theirs) & _servers(mine)
        }
        return owning == {"stream" in policy["topic"]}

    def _provable(self, identity: Place, broker: Manifest) -> bool:
        by_certificate = any(
            each.get("clients") == "MTLS" for each in broker.values() if isinstance(each, dict)
        )
        gateway = "gatewayOnly" in self.declared.identities[identity]["authentication"]
        return not (by_certificate and gateway)

    def _principal_shared(self, here: Place) -> bool:
        """ "No principal is shared, ever.", not even by two brokers that are one."""
        mine = self.brokers[here]
        for there, theirs in self.brokers.items():
            one, other = (each["owns"]["principalPrefix"] for each in (mine, theirs))
            if (
                there != here
                and _servers(mine) & _servers(theirs)
                and one[: len(other)] == other[: len(one)]
            ):
                return True
        return False

    def _disputed(self, environment: str, topic: Manifest, broker: Manifest) -> bool:
        """An admitted policy claims a common topic for another environment."""
        for place, spec in self.policies.items():
            theirs = self.brokers.get(_means(spec["brokerRef"], place[0]))
            if (
                theirs is not None
                and spec["environment"] != environment
                and self._admitted(place[0], theirs)
                and any(
                    server in _servers(broker) and _part(broker) == _part(theirs)
                    for server in _servers(theirs)
                )
            ):
                claims = [spec["topic"]]
                if "deadLetter" in spec:
                    claims.append({"name": spec["deadLetter"]["topic"]})
                if any(_common(topic, claim) for claim in claims):
                    return True
        return False


def _servers(broker: Manifest) -> set[tuple[str, str, str]]:
    """Places where a broker's principals exist; for NATS, within one account."""
    for type_ in ("kafka", "rabbitmq", "nats", "mqtt", "valkey"):
        if type_ in broker:
            given = broker[type_]
            servers = given.get("bootstrapServers") or given["servers"]
            return {(type_, server, given.get("account", "")) for server in servers}
    raise AssertionError


def _part(broker: Manifest) -> str:
    return str(broker.get("rabbitmq", {}).get("virtualHost", "/"))


def _means(reference: Manifest, here: str) -> Place:
    return reference.get("namespace", here), reference["name"]


def _named(entries: list[Manifest], here: str) -> set[Place]:
    return {_means(entry["identity"], here) for entry in entries}


def _about(topic: Manifest, name: str) -> bool:
    return topic.get("name") == name or ("prefix" in topic and name.startswith(topic["prefix"]))


def _common(first: Manifest, second: Manifest) -> bool:
    """Whether some topic matches both."""
    return any(_about(first, name) and _about(second, name) for name in _some_of(first, second))


def _some_of(*topics: Manifest) -> Iterator[str]:
    for topic in topics:
        yield from (
            [topic["name"]] if "name" in topic else [topic["prefix"], topic["prefix"] + "x"]
        )
