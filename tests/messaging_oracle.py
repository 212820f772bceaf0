"""Oracle of operations at brokers, written from the reference alone.

It works on manifests, not on models, and shares no code with `troth`. It judges single operations:
whether an identity may publish to one topic, or consume it in one group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from tests.networkpolicy import selects
from tests.oracle import Declared, place_of
from tests.oracle_topics import (
    channel_of,
    have_common,
    is_channel,
    means,
    named_in,
    servers_of,
    share_topics,
)

Manifest = dict[str, Any]
Place = tuple[str, str]
Uses = dict[Place, tuple[list[Place], list[Place], list[Place]]]
"""Policies under which an identity publishes, consumes, and reviews."""


@dataclass(frozen=True)
class Operation:
    """Operation that an identity attempts at a broker."""

    broker: Place
    identity: Place
    action: str
    topic: str
    group: str = ""
    stream: str = ""


class Wanted(NamedTuple):
    """Right that a policy declares for an identity, whether or not anything refuses it."""

    action: str
    identity: Place
    group: str
    channel: Manifest
    """Topic, and the stream that the right is for."""
    stored: str
    """Stream of the messages, "" if none is named."""
    role: str


def named(channel: Manifest) -> str:
    """A topic as claims have it."""
    return str(channel["name"]) if "name" in channel else f"{channel['prefix']}*"


@dataclass
class Brokers:
    """Everything declared, by kind."""

    declared: Declared
    brokers: dict[Place, Manifest]
    policies: dict[Place, Manifest]
    reviews: dict[Place, Manifest]
    uses: Uses
    ages: dict[Place, tuple[str, list[Manifest]]]
    """When each policy was created, and which of its claims were accepted."""

    @classmethod
    def by(cls, declared: Declared, manifests: list[Manifest], uses: Uses) -> "Brokers":
        return cls(
            declared,
            {place_of(m): m["spec"] for m in manifests if m["kind"] == "MessageBroker"},
            {place_of(m): m["spec"] for m in manifests if m["kind"] == "TopicPolicy"},
            {place_of(m): m for m in manifests if m["kind"] == "DeadLetterReview"},
            uses,
            {
                place_of(m): (
                    m["metadata"].get("creationTimestamp", "~"),
                    m.get("status", {}).get("claims", []),
                )
                for m in manifests
                if m["kind"] == "TopicPolicy"
            },
        )

    def permits(self, tried: Operation) -> bool:
        return any(
            self._by_policy(place, tried)
            for place, spec in self.policies.items()
            if means(spec["brokerRef"], place[0]) == tried.broker
        )

    def _by_policy(self, place: Place, tried: Operation) -> bool:
        """Whether a grant of one policy permits the operation."""
        by_action = {
            "Publish": self._publishes,
            "Consume": self._consumes,
            "Review": self._reads_letters,
        }
        return by_action[tried.action](place, tried)

    def _consents(self, place: Place, tried: Operation, number: int) -> bool:
        return place in self.uses.get(tried.identity, ([], [], []))[number]

    def _publishes(self, place: Place, tried: Operation) -> bool:
        """On the policy's topic, or as a consumer or reviewer on other topics of the policy."""
        spec = self.policies[place]
        if tried.group:
            return False
        letters, own = {"name": spec.get("deadLetter", {}).get("topic")}, spec["topic"]
        directly = tried.identity in named_in(spec["producers"], place[0]) and self._consents(
            place, tried, 0
        )
        as_consumer = tried.identity in named_in(spec["consumers"], place[0]) and self._consents(
            place, tried, 1
        )
        reviewing = self._is_reviewer(place, tried)
        redriving = reviewing and self._is_under_review(place)
        ways = [
            (directly, own),
            (as_consumer or reviewing, letters),
            (redriving and self._has_one_receiver(place, tried), own),
            *(
                (
                    redriving and self._retry_received(place, tried, consumer),
                    {"name": retry["topic"]},
                )
                for consumer, retry in self._retries(place).items()
            ),
        ]
        return any(
            may
            and is_channel(channel, tried.topic, tried.stream)
            and self._allowed(place, tried, channel)
            for may, channel in ways
        )

    def _consumes(self, place: Place, tried: Operation) -> bool:
        """From the policy's topic, or from the consumer's own retry topic."""
        return self._receives_topic(place, tried) or self._receives_retry(place, tried)

    def _receives_topic(self, place: Place, tried: Operation) -> bool:
        own = self.policies[place]["topic"]
        return is_channel(own, tried.topic, tried.stream) and self._receives(place, tried, own)

    def _receives_retry(self, place: Place, tried: Operation) -> bool:
        """From the consumer's retry topic, in a stream where the dead letters are in one."""
        retry = self._retries(place).get((tried.identity, tried.group))
        if retry is None:
            return False
        channel = channel_of(retry)
        letters = self.policies[place].get("deadLetter", {})
        at_nats = "nats" in self.brokers.get(tried.broker, {})
        return (
            is_channel(channel, tried.topic, tried.stream)
            and ("stream" in retry or "stream" not in letters or not at_nats)
            and self._receives(place, tried, channel, role="retry")
        )

    def _retry_received(self, place: Place, tried: Operation, consumer: tuple[Place, str]) -> bool:
        """Whether the consumer of a retry topic may consume it, so no message there is lost."""
        retry = self._retries(place)[consumer]
        topic, stream = retry["topic"], retry.get("stream", "")
        attempt = Operation(tried.broker, consumer[0], "Consume", topic, consumer[1], stream)
        return self._receives_retry(place, attempt)

    def _beside(self, place: Place, broker: Place) -> Iterator[Place]:
        """The other policies at the servers of a broker."""
        for other, spec in self.policies.items():
            theirs = self.brokers.get(means(spec["brokerRef"], other[0]))
            if other != place and theirs is not None and share_topics(self.brokers[broker], theirs):
                yield other

    # "The older of two claims stands", and a claim is what nothing refuses

    def _older(self, other: Place, place: Place, kind: str, theirs: str, mine: str) -> bool:
        return self._age(other, kind, theirs) < self._age(place, kind, mine)

    def _age(self, place: Place, kind: str, name: str) -> tuple[str, str, Place]:
        """When a policy had a name accepted, when it was created, and its own name."""
        created, claims = self.ages[place]
        at = "/".join(means(self.policies[place]["brokerRef"], place[0]))
        mine = {"kind": kind, "name": name, "broker": at}
        since = [each["since"] for each in claims if mine.items() <= each.items()]
        return min(since, default="~"), created, place

    def _wanted(self, place: Place) -> Iterator[Wanted]:
        spec, here = self.policies[place], place[0]
        own, letters = spec["topic"], spec.get("deadLetter")
        stream = own.get("stream", "")
        for identity in named_in(spec["producers"], here):
            yield Wanted("Publish", identity, "", own, stream, "producer")
        for identity, group in self._consumers(place):
            yield Wanted("Consume", identity, group, own, stream, "consumer")
            if letters is not None:
                yield self._letters("Publish", identity, letters, "consumer")
            retry = self._retries(place).get((identity, group))
            if retry is not None:
                stored = retry.get("stream", "")
                yield Wanted("Consume", identity, group, channel_of(retry), stored, "retry")
        if letters is None or "reviewer" not in letters:
            return
        who = means(letters["reviewer"], here)
        read = self._letters("Review", who, letters, "reviewer")
        yield read._replace(channel=channel_of(letters))
        yield self._letters("Publish", who, letters, "reviewer")
        for consumer in self._consumers(place):
            retry = self._retries(place).get(consumer)
            if retry is None:
                yield Wanted("Publish", who, "", own, stream, "reviewer")
            else:
                again = {"name": retry["topic"]}
                yield Wanted("Publish", who, "", again, retry.get("stream", ""), "reviewer")

    @staticmethod
    def _letters(action: str, identity: Place, letters: Manifest, role: str) -> Wanted:
        channel, stored = {"name": letters["topic"]}, letters.get("stream", "")
        return Wanted(action, identity, "", channel, stored, role)

    def _claimed(self, place: Place) -> list[Wanted]:
        return [each for each in self._wanted(place) if not self._refused(place, each)]

    def _refused(self, place: Place, wanted: Wanted) -> bool:
        """Whether a right is refused by its own policy, identity and broker."""
        spec = self.policies[place]
        at = means(spec["brokerRef"], place[0])
        broker, letters = self.brokers[at], spec.get("deadLetter", {})
        tried = Operation(at, wanted.identity, wanted.action, "", wanted.group)
        number = {"producer": 0, "consumer": 1, "retry": 1, "reviewer": 2}[wanted.role]
        if not self._consents(place, tried, number):
            return True
        if not self._fits_owner(place, tried, wanted.channel):
            return True
        if wanted.role == "reviewer" and not self._is_reviewer(place, tried):
            return True
        unstored = "nats" in broker and "stream" not in wanted.channel
        if wanted.action == "Review":
            return unstored
        if wanted.action != "Consume":
            return False
        lost = wanted.role == "retry" and "stream" in letters
        beside_streams = bool(broker["owns"].get("streams"))
        return (unstored and (lost or beside_streams)) or not (
            self._group_fits(tried, wanted.channel) and self._group_owned(tried)
        )

    def _claims(self, place: Place) -> list[Manifest]:
        """Every topic of a policy."""
        spec = self.policies[place]
        letters = [{"name": spec["deadLetter"]["topic"]}] if "deadLetter" in spec else []
        retries = [channel_of(each["retry"]) for each in spec["consumers"] if "retry" in each]
        return [spec["topic"], *letters, *retries]

    def _receives(
        self, place: Place, tried: Operation, channel: Manifest, role: str = "consumer"
    ) -> bool:
        """Whether one of the policy's consumers receives a topic of the policy."""
        return (
            (tried.identity, tried.group) in self._consumers(place)
            and self._consents(place, tried, 1)
            and self._group_fits(tried, channel)
            and self._group_owned(tried)
            and not self._group_shared(place, tried, channel)
            and self._account_fits(tried, channel)
            and self._allowed(place, tried, channel, role)
        )

    def _reads_letters(self, place: Place, tried: Operation) -> bool:
        """The reviewer reads the dead letters, in NATS all of a stream that has nothing else."""
        letters = self.policies[place].get("deadLetter")
        if letters is None or tried.group:
            return False
        channel = channel_of(letters)
        return (
            is_channel(channel, tried.topic, tried.stream)
            and self._is_reviewer(place, tried)
            and ("nats" not in self.brokers.get(tried.broker, {}) or tried.stream != "")
            and self._account_fits(tried, channel)
            and self._allowed(place, tried, channel)
        )

    def _is_reviewer(self, place: Place, tried: Operation) -> bool:
        """Both sides agree, and the reviewer is nothing else under the policy or for its topic."""
        spec, here = self.policies[place], place[0]
        reviewer = spec.get("deadLetter", {}).get("reviewer")
        return (
            reviewer is not None
            and means(reviewer, here) == tried.identity
            and self._consents(place, tried, 2)
            and tried.identity not in named_in([*spec["producers"], *spec["consumers"]], here)
            and not any(self._also_publishes(place, other, tried) for other in self.policies)
        )

    def _also_publishes(self, place: Place, other: Place, tried: Operation) -> bool:
        """Whether another policy to which the reviewer consents lets it publish for this one."""
        spec = self.policies[other]
        mine = self.brokers.get(tried.broker)
        theirs = self.brokers.get(means(spec["brokerRef"], other[0]))
        if other == place or mine is None or theirs is None or not share_topics(mine, theirs):
            return False
        letters = spec.get("deadLetter")
        published = []
        if self._consents(other, tried, 0) and tried.identity in named_in(
            spec["producers"], other[0]
        ):
            published.append(spec["topic"])
        consumes = tried.identity in named_in(spec["consumers"], other[0])
        if letters is not None and consumes and self._consents(other, tried, 1):
            published.append({"name": letters["topic"]})
        letters_here = self.policies[place]["deadLetter"]["topic"]
        redriven = [each for each in self._claims(place) if each.get("name") != letters_here]
        return any(have_common(one, two) for one in published for two in redriven)

    def _is_under_review(self, place: Place) -> bool:
        """A review asks for redrives, is approved if that is required, and has not ended."""
        required = self.policies[place]["deadLetter"].get("approvals", 1)
        return any(
            (namespace, review["spec"]["policy"]["name"]) == place
            and review["spec"]["action"] == "Redrive"
            and (not required or "approval" in review["spec"])
            and "withdrawal" not in review["spec"]
            and review.get("status", {}).get("phase", "Pending")
            in {"Pending", "AwaitingApproval", "Running"}
            for (namespace, _), review in self.reviews.items()
        )

    def _has_one_receiver(self, place: Place, tried: Operation) -> bool:
        """A consumer without a retry topic, and no other whom a message would reach."""
        consumers = self._consumers(place)
        receiving = [
            self._receives(
                place,
                Operation(tried.broker, identity, "Consume", tried.topic, group, tried.stream),
                self.policies[place]["topic"],
            )
            for identity, group in consumers
        ]
        return sum(receiving) <= 1 and not consumers <= self._retries(place).keys()

    def _consumers(self, place: Place) -> set[tuple[Place, str]]:
        return {
            (means(each["identity"], place[0]), each.get("group", ""))
            for each in self.policies[place]["consumers"]
        }

    def _retries(self, place: Place) -> dict[tuple[Place, str], Manifest]:
        """Retry topics by consumer, the first of each."""
        found: dict[tuple[Place, str], Manifest] = {}
        for each in self.policies[place]["consumers"]:
            if "retry" in each:
                consumer = means(each["identity"], place[0]), each.get("group", "")
                found.setdefault(consumer, each["retry"])
        return found

    def _only_reviewed(self, place: Place, stream: str, reviewer: Place) -> bool:
        """Whether a policy has nothing in a stream but dead letters for this reviewer."""
        spec = self.policies[place]
        letters = spec.get("deadLetter", {})
        stored = {spec["topic"].get("stream")}
        stored |= {each.get("retry", {}).get("stream") for each in spec["consumers"]}
        named = letters.get("reviewer")
        return stream not in stored and named is not None and means(named, place[0]) == reviewer

    def _allowed(self, place: Place, tried: Operation, topic: Manifest, role: str = "") -> bool:
        """The owner allows it, nothing is unsettled, and no older claim is in its way."""
        stored = self._stored(place, topic)
        mine = Wanted(tried.action, tried.identity, tried.group, topic, stored, role)
        return (
            self._fits_owner(place, tried, topic)
            and self.declared.governor(place[0]) is not None
            and self.declared.governor(tried.identity[0]) is not None
            and not self.declared.shared(tried.identity)
            and not self._principal_shared(tried.broker)
            and not any(
                self._in_the_way(other, theirs, place, mine)
                for other in self._beside(place, tried.broker)
                for theirs in self._claimed(other)
            )
        )

    def _in_the_way(self, other: Place, theirs: Wanted, place: Place, mine: Wanted) -> bool:
        """Whether a right of another policy is older, and its topic or stream is not for both."""
        one, two = named(theirs.channel), named(mine.channel)
        differ = self.policies[other]["environment"] != self.policies[place]["environment"]
        alone = "retry" in (mine.role, theirs.role)
        if (
            have_common(theirs.channel, mine.channel)
            and (differ or alone)
            and self._older(other, place, "Topic", one, two)
        ):
            return True
        stream = theirs.stored
        if not stream or stream != mine.stored:
            return False
        reads = mine.action == "Review" and not self._only_reviewed(other, stream, mine.identity)
        is_read = theirs.action == "Review" and not self._only_reviewed(
            place, stream, theirs.identity
        )
        return (reads or is_read) and self._older(other, place, "Stream", stream, stream)

    def _stored(self, place: Place, topic: Manifest) -> str:
        """The stream of a topic of a policy."""
        spec = self.policies[place]
        channels = [spec["topic"]]
        channels += [channel_of(spec["deadLetter"])] if "deadLetter" in spec else []
        channels += [channel_of(each["retry"]) for each in spec["consumers"] if "retry" in each]
        return next(str(each.get("stream", "")) for each in channels if named(each) == named(topic))

    def _fits_owner(self, place: Place, tried: Operation, topic: Manifest) -> bool:
        """The broker's owner and both namespaces must allow the operation."""
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
            and all(
                "stream" not in named
                or ("nats" in broker and named["stream"] in broker["owns"].get("streams", []))
                for named in (spec["topic"], topic)
            )
            and self._provable(tried.identity, broker)
        )

    def _at_home(self, namespace: str, policy: Manifest, broker: Manifest) -> bool:
        """The namespace must be of the environment, or in dispute, and the broker must admit it."""
        claims = self.declared.claims(namespace)
        environments = {self.declared.domains[each]["environment"] for each in claims}
        return (len(claims) > 1 or environments == {policy["environment"]}) and self._admitted(
            namespace, broker
        )

    def _admitted(self, namespace: str, broker: Manifest) -> bool:
        labels = self.declared.namespaces.get(namespace)
        return labels is not None and selects(broker["allowedNamespaces"], labels)

    def _group_fits(self, tried: Operation, channel: Manifest) -> bool:
        """ "A group where the broker has groups": Kafka and Valkey always, a stream of NATS too."""
        broker = self.brokers.get(tried.broker, {})
        if "kafka" in broker or "valkey" in broker:
            return tried.group != ""
        if "rabbitmq" in broker:
            return tried.group == ""
        return "stream" not in channel or tried.group != ""

    def _group_owned(self, tried: Operation) -> bool:
        owned = self.brokers.get(tried.broker, {}).get("owns", {}).get("groupPrefixes", [])
        return not tried.group or any(tried.group.startswith(each) for each in owned)

    def _group_shared(self, place: Place, tried: Operation, channel: Manifest) -> bool:
        """One identity per group, the older one, unless both owners say that it is shared.

        Groups of Kafka belong to the whole cluster, durables to a stream, queues to their topics.
        """
        if not tried.group:
            return False
        mine, group = self.brokers[tried.broker], tried.group
        return any(
            theirs.group == group
            and theirs.identity != tried.identity
            and not all(group in b["owns"].get("sharedGroups", []) for b in (mine, there))
            and (
                "kafka" in mine
                or (
                    theirs.channel.get("stream") == channel.get("stream")
                    and ("stream" in channel or have_common(theirs.channel, channel))
                )
            )
            and (other == place or self._older(other, place, "Group", group, group))
            for other in (place, *self._beside(place, tried.broker))
            for there in (self.brokers[means(self.policies[other]["brokerRef"], other[0])],)
            for theirs in self._claimed(other)
        )

    def _account_fits(self, tried: Operation, channel: Manifest) -> bool:
        """In an account of NATS either everybody consumes from streams, or nobody does."""
        mine = self.brokers.get(tried.broker, {})
        if "nats" not in mine:
            return True
        owning = {
            bool(theirs["owns"].get("streams"))
            for theirs in self.brokers.values()
            if servers_of(theirs) & servers_of(mine)
        }
        return owning == {"stream" in channel}

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
                and servers_of(mine) & servers_of(theirs)
                and one[: len(other)] == other[: len(one)]
            ):
                return True
        return False
