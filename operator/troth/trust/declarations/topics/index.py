"""Index of policies by their topics, so that policies with a topic in common are found."""

from troth.resources.references import Ref
from troth.trust.grants import Topic
from troth.trust.multimap import Multimap


class TopicIndex:
    """Policies of each broker by the topics on which they grant anything."""

    def __init__(self) -> None:
        self._named: dict[Ref, Multimap[str, Ref]] = {}
        self._prefixes: dict[Ref, Multimap[str, Ref]] = {}

    def add(self, broker: Ref, topic: Topic, policy: Ref) -> None:
        """Add a topic of a policy."""
        self._of(topic).setdefault(broker, Multimap()).add(topic.name, policy)

    def discard(self, broker: Ref, topic: Topic, policy: Ref) -> None:
        """Remove a topic of a policy, if it is there."""
        index = self._of(topic)
        at = index.get(broker)
        if at is not None:
            at.discard(topic.name, policy)
            if not at.keys():
                del index[broker]

    def meeting(self, broker: Ref, topic: Topic) -> frozenset[Ref]:
        """Return the policies of a broker with a topic that `topic` includes or that includes it.

        A prefix is compared with every topic at the broker.
        """
        named, prefixes = self._named.get(broker), self._prefixes.get(broker)
        found: set[Ref] = set()
        if prefixes is not None:
            for end in range(len(topic.name) + 1):
                found |= prefixes.of(topic.name[:end])
        for at in (named, prefixes) if topic.prefix else ():
            for name, policies in at.items() if at is not None else ():
                if name.startswith(topic.name):
                    found |= policies
        if named is not None and not topic.prefix:
            found |= named.of(topic.name)
        return frozenset(found)

    def _of(self, topic: Topic) -> dict[Ref, Multimap[str, Ref]]:
        return self._prefixes if topic.prefix else self._named
