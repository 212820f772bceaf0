"""Policies that store their messages in one stream and do not depend on each other."""

import pytest

from tests.builders import NOW, Cluster, Manifest, domain, identity, namespace, stamp
from tests.messaging import NATS, broker, policy, producer
from troth.resources.messaging.topic_policy import TopicPolicy
from troth.resources.references import Ref
from troth.trust.declarations.claims import Rank
from troth.trust.topics import rivals
from troth.trust.topics.claims import may_stand_before
from troth.trust.topics.evaluation import grants_of
from troth.world.keys import identity_key, policy_key

NUMBER = 8


def policies(number: int) -> list[Manifest]:
    """Return policies of one stream, each with a producer that consents to it."""
    found: list[Manifest] = []
    for each in range(number):
        found += [
            policy(
                f"topic-{each}",
                topic={"name": f"prod.t{each}", "stream": "SHOP"},
                producers=[producer(f"producer-{each}")],
            ),
            identity(f"producer-{each}", publishes=[{"policy": {"name": f"topic-{each}"}}]),
        ]
    return found


def cluster(*manifests: Manifest) -> Cluster:
    owned = {"streams": ["SHOP"]}
    nats = broker(described=NATS, more=owned)
    spaces = namespace("shop", domain="production"), namespace("messaging")
    return Cluster.of(*spaces, domain(), nats, *policies(NUMBER), *manifests)


REVIEWED = policy(
    "reviewed",
    topic={"name": "prod.reviewed", "stream": "OTHER"},
    deadLetter={
        "topic": "prod.reviewed.dlq",
        "stream": "SHOP",
        "reviewer": {"name": "reviewer"},
    },
)


@pytest.mark.parametrize("reviewed", [False, True])
def test_change_of_a_grant_requeues_a_policy_of_the_stream_only_if_one_is_reviewed(
    *, reviewed: bool
) -> None:
    it = cluster(*([REVIEWED] if reviewed else []))
    claims = [
        {"kind": "Stream", "name": "SHOP", "broker": "messaging/main", "since": stamp(NOW)},
    ]
    other = {policy_key(Ref("shop", "topic-1")), identity_key(Ref("shop", "producer-1"))}
    reviewing = {policy_key(Ref("shop", "reviewed"))} if reviewed else set()
    for put in (
        identity("producer-0", publishes=[]),
        identity("producer-0", publishes=[{"policy": {"name": "topic-0"}}]),
        {**policies(1)[0], "status": {"claims": claims}},
    ):
        affected = it.put(put)
        assert affected >= reviewing
        assert not affected & other


def test_grants_in_a_stream_are_not_compared_with_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[str] = []

    def noted(theirs: TopicPolicy, mine: Rank) -> bool:
        read.append(theirs.metadata.name)
        return may_stand_before(theirs, mine)

    monkeypatch.setattr(rivals, "may_stand_before", noted)
    world = cluster(REVIEWED).world
    newest = Ref("shop", f"topic-{NUMBER - 1}")
    grants_of(world.registry, world.brokers.messaging, newest)
    assert set(read) == {"reviewed"}
