"""Status of what a broker shows: it changes with its content, at most once a minute."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.broker_builders import MAIN, PUBLISHER, lose_sight, market, orders, see
from tests.builders import NOW, Cluster, Manifest, stamp
from tests.messaging import KAFKA, broker
from troth.planning.plan import Plan
from troth.resources.messaging.observed_broker import (
    MOST_RIGHTS,
    MOST_TOPICS,
    Exposure,
    ObservedClient,
)
from troth.trust.grants import Rule
from troth.world.keys import broker_key

MINUTE = timedelta(minutes=1)
SUPER = Rule("super.users", "TOPIC", "LITERAL", "*", "ALL", host="*")


def acl(principal: str, name: str, operation: str = "READ", **terms: str) -> Rule:
    given = {"pattern": "LITERAL", "effect": "ALLOW", "host": "*"} | terms
    return Rule(principal, "TOPIC", name=name, operation=operation, **given)


def connected(*addresses: str) -> Exposure:
    return Exposure(clients=(ObservedClient(group="fulfilment", addresses=addresses),))


def write(cluster: Cluster, plan: Plan) -> None:
    """Store a planned status, as the API server does."""
    cluster.put({**cluster.objects["MessageBroker", MAIN], "status": plan.status})


def observed(plan: Plan) -> dict[str, Any]:
    assert plan.status is not None
    found: dict[str, Any] = plan.status["observed"]
    return found


def seen(cluster: Cluster, after: timedelta, *addresses: str) -> Plan:
    """Return the plan after an observation that finds clients at these addresses."""
    cluster.now = NOW + after
    see(cluster, exposure=connected(*addresses))
    return cluster.plan(broker_key(MAIN))


def shown(plan: Plan) -> tuple[object, object]:
    """Return the addresses in the status and its time."""
    return observed(plan)["clients"][0]["addresses"], observed(plan)["observedAt"]


def test_first_observation_is_written_with_its_time() -> None:
    cluster = market()
    assert shown(seen(cluster, timedelta(0), "10.0.0.1")) == (["10.0.0.1"], stamp(NOW))


def test_same_content_keeps_its_time_and_causes_no_write() -> None:
    cluster = market()
    write(cluster, seen(cluster, timedelta(0), "10.0.0.1"))
    plan = seen(cluster, 60 * MINUTE, "10.0.0.1")
    assert shown(plan) == (["10.0.0.1"], stamp(NOW))


def test_other_content_is_held_back_until_the_minute_is_over() -> None:
    cluster = market()
    write(cluster, seen(cluster, timedelta(0), "10.0.0.1"))
    plan = seen(cluster, MINUTE / 2, "10.0.0.2")
    assert shown(plan) == (["10.0.0.1"], stamp(NOW))
    assert plan.due is not None
    assert plan.due <= NOW + MINUTE
    cluster.now = NOW + MINUTE
    later = cluster.plan(broker_key(MAIN))
    assert shown(later) == (["10.0.0.2"], stamp(NOW + MINUTE / 2))


def test_content_is_not_held_back_by_a_time_in_the_future() -> None:
    cluster = market()
    write(cluster, seen(cluster, timedelta(0), "10.0.0.1"))
    assert shown(seen(cluster, -MINUTE, "10.0.0.2")) == (["10.0.0.2"], stamp(NOW - MINUTE))


def test_content_and_time_stay_while_the_broker_is_away() -> None:
    cluster = market()
    write(cluster, seen(cluster, timedelta(0), "10.0.0.1"))
    cluster.now = NOW + 5 * MINUTE
    lose_sight(cluster)
    plan = cluster.plan(broker_key(MAIN))
    assert shown(plan) == (["10.0.0.1"], stamp(NOW))
    assert cluster.condition(broker_key(MAIN), "Reachable")["status"] == "False"


def test_content_stays_after_a_restart_until_the_next_observation() -> None:
    cluster = market()
    write(cluster, seen(cluster, timedelta(0), "10.0.0.1"))
    cluster.world.brokers.forget_observation(MAIN)
    assert shown(cluster.plan(broker_key(MAIN))) == (["10.0.0.1"], stamp(NOW))


def test_content_of_another_server_is_not_written() -> None:
    cluster = market()
    write(cluster, seen(cluster, timedelta(0), "10.0.0.1"))
    see(cluster, exposure=connected("10.0.0.2"))
    elsewhere = {"kafka": KAFKA["kafka"] | {"bootstrapServers": ["other.messaging.svc:9093"]}}
    cluster.put(broker(described=elsewhere))
    cluster.now = NOW + 5 * MINUTE
    assert shown(cluster.plan(broker_key(MAIN))) == (["10.0.0.1"], stamp(NOW))


def rights(cluster: Cluster, *rules: Rule, openings: tuple[Rule, ...] = ()) -> list[Manifest]:
    """Return the rights in the status after an observation of these foreign rules."""
    exposure = Exposure(super_users=tuple(sorted({each.principal for each in openings})))
    see(cluster, rules, openings=openings, exposure=exposure)
    found: list[Manifest] = observed(cluster.plan(broker_key(MAIN)))["rights"]
    return found


def test_foreign_rights_on_topics_of_policies_are_listed() -> None:
    assert rights(market(), acl("legacy", "prod.orders.v1"), acl("legacy", "other")) == [
        {"principal": "legacy", "actions": ["Consume"], "topics": ["prod.orders.v1"]}
    ]


def test_right_that_is_denied_is_not_listed() -> None:
    allow = acl("legacy", "prod.orders.v1")
    assert rights(market(), allow, acl("legacy", "*", effect="DENY")) == []


@pytest.mark.parametrize(
    ("rule", "topics"),
    [
        (acl("legacy", "*", "ALL"), ["prod.orders.v1"]),
        (acl("*", "prod.orders.v1", "ALL"), ["prod.orders.v1"]),
        (acl("*", "prod.others", "ALL"), []),
    ],
)
def test_wildcards_are_marked_also_on_topics_without_a_policy(
    rule: Rule, topics: list[str]
) -> None:
    assert rights(market(), rule) == [
        {
            "principal": rule.principal,
            "actions": ["Publish", "Consume"],
            "topics": topics,
            "wildcard": True,
        }
    ]


def test_administrators_super_users_and_own_principals_are_left_out() -> None:
    cluster = market(broker(administrators=["owner"]))
    foreign = (acl("owner", "*"), acl(PUBLISHER, "prod.orders.v1"))
    assert rights(cluster, *foreign, openings=(SUPER,)) == []


def test_super_users_that_administer_are_left_out() -> None:
    cluster = market(broker(administrators=["super.users"]))
    see(cluster, openings=[SUPER], exposure=Exposure(super_users=("super.users", "other")))
    assert observed(cluster.plan(broker_key(MAIN)))["superUsers"] == ["other"]


def test_lists_of_rights_are_bounded_and_say_so() -> None:
    many = [orders(f"p{n}", topic={"name": f"prod.t{n:02}"}) for n in range(MOST_TOPICS + 1)]
    cluster = market(*many)
    foreign = [acl(f"u{n:03}", "prod.", pattern="PREFIXED") for n in range(MOST_RIGHTS + 1)]
    see(cluster, foreign, exposure=Exposure())
    found = observed(cluster.plan(broker_key(MAIN)))
    assert len(found["rights"]) == MOST_RIGHTS
    assert len(found["rights"][0]["topics"]) == MOST_TOPICS
    assert found["rights"][0]["moreTopics"] is True
    assert [each["aspect"] for each in found["hidden"]] == ["Rights"]


def test_hostile_principal_is_escaped() -> None:
    (right,) = rights(market(), acl("\x1b[31mred\u202e", "prod.orders.v1"))
    assert right["principal"] == "\\x1b[31mred\\u202e"


def test_observation_is_part_of_the_resource() -> None:
    """A status that was written is read again as the same content."""
    cluster = market()
    plan = seen(cluster, timedelta(0), "10.0.0.1")
    write(cluster, plan)
    declared = cluster.world.brokers.declared(MAIN)
    assert declared is not None
    assert declared.status.observed is not None
    assert declared.status.observed.observed_at == datetime.fromisoformat(stamp(NOW))
    assert declared.status.observed.manifest() == observed(plan)
