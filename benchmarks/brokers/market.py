"""The declarations of the broker benchmarks: identities that publish and consume, and policies."""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from benchmarks.fleet.topology import NAMESPACE, Manifest, identity, name
from troth.resources.metadata import API_VERSION
from troth.resources.references import Ref

BROKER = Ref(NAMESPACE, "main")
ADMIN, ROOTS = "broker-admin", "broker-ca"
OWNED, PRINCIPALS = "bench.", "bench-"
EXTRA = 0
"""The identity with the grant that is added and removed."""
OTHER = "floor"
"""The floor's principal with that grant; its name is the prefix of the floor's other principals."""


@dataclass(frozen=True, slots=True)
class Market:
    """A ring of identities with four grants each and two policies for each identity.

    Each of the `principals` beyond the ring consumes from one more policy of the ring.
    """

    ring: int
    principals: int

    @property
    def policies(self) -> int:
        """Number of policies."""
        return 2 * self.ring

    @property
    def grants(self) -> int:
        """Number of grants of the ring."""
        return 2 * self.policies

    def identities(self, *, grown: bool = False) -> Iterator[Manifest]:
        """Yield the ring's identities, or with `grown` all."""
        for number in range(self.principals if grown else self.ring):
            yield self._identity(number)

    def topics(self, *, grown: bool = False) -> Iterator[Manifest]:
        """Yield the policies for the ring's identities, or with `grown` for all."""
        for number in range(self.policies):
            yield self.policy(number, grown=grown)

    def policy(self, number: int, *, extra: bool = True, grown: bool = False) -> Manifest:
        """Return a policy; without `extra`, it lacks the grant that is added and removed."""
        producers = [number % self.ring]
        producers += [EXTRA] if extra and number == self.toggled else []
        consumers = [self._consumer(number)]
        if grown and number + self.ring < self.principals:
            consumers.append(number + self.ring)
        return {
            "apiVersion": API_VERSION,
            "kind": "TopicPolicy",
            "metadata": {"name": policy_name(number), "namespace": NAMESPACE},
            "spec": {
                "brokerRef": {"name": BROKER.name},
                "topic": {"name": topic(number)},
                "environment": "bench",
                "producers": [{"identity": {"name": name(each)}} for each in producers],
                "consumers": [
                    {"identity": {"name": name(each)}, "group": name(each)} for each in consumers
                ],
            },
        }

    @property
    def toggled(self) -> int:
        """The policy by which `EXTRA` publishes at times, and which grants it nothing else."""
        return self.ring // 2

    def _consumer(self, policy: int) -> int:
        return (policy + 1) % self.ring

    def _identity(self, number: int) -> Manifest:
        manifest = identity(number, self.principals)
        if number < self.ring:
            publishes = [number, number + self.ring]
            consumes = [each for each in range(self.policies) if self._consumer(each) == number]
        else:
            publishes, consumes = [], [number - self.ring]
        publishes += [self.toggled] if number == EXTRA else []
        manifest["spec"] |= {
            "accepts": [],
            "calls": [],
            "publishes": [{"policy": {"name": policy_name(each)}} for each in publishes],
            "consumes": [{"policy": {"name": policy_name(each)}} for each in consumes],
        }
        return manifest


def policy_name(number: int) -> str:
    """Return the name of a policy."""
    return f"t{number}"


def topic(number: int) -> str:
    """Return the name of a policy's topic."""
    return OWNED + policy_name(number)


def principal(number: int) -> str:
    """Return an identity's principal at the broker."""
    return f"{PRINCIPALS}{NAMESPACE}.{name(number)}"


def broker(described: Manifest) -> Manifest:
    """Return the broker; `described` is its part of the spec, for example its address."""
    return {
        "apiVersion": API_VERSION,
        "kind": "MessageBroker",
        "metadata": {"name": BROKER.name, "namespace": BROKER.namespace},
        "spec": {
            "environment": "bench",
            "allowedNamespaces": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            "owns": {
                "topicPrefixes": [OWNED],
                "principalPrefix": PRINCIPALS,
                "groupPrefixes": [name(0)[:1]],
            },
            "administrators": ["super.users"],
            "driftCheck": "1h",  # the benchmark requests drift checks itself
            **described,
        },
    }


def secret(called: str, data: Mapping[str, str]) -> Manifest:
    """Return a Secret of the broker's owner."""
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    metadata = {"name": called, "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}
