"""`troth grants` lists who may publish to or consume a topic, and why a grant is not live."""

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.broker_builders import (
    CHECKOUT,
    ORDERS,
    orders,
    publisher,
    reviewed_orders,
    reviewer,
    subscriber,
)
from tests.broker_builders import market as in_memory
from tests.builders import Manifest
from tests.cli.market import written
from tests.messaging import broker, consumer, policy
from troth.cli.grants.report import Granted, everything_granted
from troth.cli.main import app
from troth.resources.messaging.topic_policy_status import Action

PRODUCING = ("shop/checkout", "Publish", "prod.orders.v1")
CONSUMING = ("shop/fulfilment", "Consume", "prod.orders.v1")


def run_grants(folder: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(app, ["grants", *arguments, "-f", str(folder)])
    assert result.exit_code == 0, result.output
    return result


def listed(folder: Path, *arguments: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(run_grants(folder, *arguments, "-o", "json").stdout)[
        "grants"
    ]
    return found


def summary(folder: Path) -> dict[tuple[str, ...], tuple[str, str]]:
    """Return state and reason of each grant, by identity, action and topic."""
    return {
        (each["identity"], each["action"], each.get("topic", "")): (
            each["state"],
            each.get("reason", ""),
        )
        for each in listed(folder)
    }


def test_each_producer_and_consumer_has_a_line(tmp_path: Path) -> None:
    lines = [line.split() for line in run_grants(written(tmp_path)).stdout.splitlines()]
    assert lines == [
        ["IDENTITY", "ACTION", "TOPIC", "GROUP", "BROKER", "POLICY", "STATE", "REASON"],
        ["shop/checkout", "Publish", "prod.orders.v1", "messaging/main", "shop/orders", "Live"],
        [*CONSUMING, "fulfilment", "messaging/main", "shop/orders", "Live"],
    ]


def test_topic_is_answered_with_exactly_the_grants_that_cover_it(tmp_path: Path) -> None:
    audit = policy(
        "audit", topic={"prefix": "prod.orders."}, consumers=[consumer("audit", "audit")]
    )
    folder = written(
        tmp_path,
        audit,
        subscriber("audit", "audit"),
        orders("refunds", topic={"name": "prod.refunds"}),
    )
    assert [each["policy"] for each in listed(folder, "prod.orders.v1")] == [
        "shop/audit",
        "shop/orders",
        "shop/orders",
    ]
    for other in ("prod.orders.v2", "prod.orders.v10"):
        assert [each.get("prefix") for each in listed(folder, other)] == ["prod.orders."]
    assert listed(folder, "prod.orders") == []
    assert "no grant for prod.orders is declared" in run_grants(folder, "prod.orders").stderr


def test_missing_consent_is_shown_below_the_grant(tmp_path: Path) -> None:
    silent = publisher()
    del silent["spec"]["publishes"]
    folder = written(tmp_path, silent)
    assert summary(folder)[PRODUCING] == ("AwaitingIdentity", "PolicyNotNamed")
    lines = run_grants(folder).stdout.splitlines()
    below = next(after for line, after in itertools.pairwise(lines) if "checkout" in line)
    assert below == "    shop/checkout does not name shop/orders; add it to its publishes"


def test_policy_that_only_an_identity_names_is_listed_without_a_topic(tmp_path: Path) -> None:
    found = summary(written(tmp_path, publisher("checkout", "orders", "nowhere")))
    assert found["shop/checkout", "Publish", ""] == ("AwaitingPolicy", "PolicyMissing")


@pytest.mark.parametrize(
    ("changed", "state", "reason"),
    [
        (orders(topic={"name": "prod.orders:v1"}), "Refused", "NotAtThisBroker"),
        (broker(mode="Plan"), "Live", "BrokerObserved"),
        (
            broker(
                described={"mqtt": {"servers": ["a:1"], "adminSecretRef": {"name": "a"}}},
            ),
            "Refused",
            "Unsupported",
        ),
    ],
)
def test_grant_that_the_broker_cannot_have_is_refused_without_asking_it(
    tmp_path: Path, changed: Manifest, state: str, reason: str
) -> None:
    publishing = [
        each for each in listed(written(tmp_path, changed)) if each["action"] == "Publish"
    ]
    assert [(each["state"], each["reason"]) for each in publishing] == [(state, reason)]


def test_consumer_may_publish_to_its_dead_letter_topic(tmp_path: Path) -> None:
    folder = written(tmp_path, orders(deadLetter={"topic": "prod.dead"}))
    (found,) = listed(folder, "prod.dead")
    assert (found["identity"], found["action"]) == ("shop/fulfilment", "Publish")


def test_reviewer_is_listed_with_each_topic_and_the_reason_of_an_inactive_grant(
    tmp_path: Path,
) -> None:
    folder = written(tmp_path, reviewed_orders(), reviewer())
    found = {place: state for place, state in summary(folder).items() if "reviewer" in place[0]}
    assert found == {
        ("shop/reviewer", "Review", "prod.orders.v1.dlq"): ("Live", ""),
        ("shop/reviewer", "Publish", "prod.orders.v1.dlq"): ("Live", ""),
        ("shop/reviewer", "Publish", "prod.orders.v1"): ("Inactive", "NoApprovedReview"),
    }


# Observations of the operator


def published(status: Manifest) -> Granted:
    """Return the grant of `checkout`, given a status of the policy."""
    cluster = in_memory()
    stored = copy.deepcopy(cluster.objects["TopicPolicy", ORDERS])
    cluster.put(stored | {"status": status})
    (found,) = (each for each in everything_granted(cluster.world) if each.identity == CHECKOUT)
    return found


def status_of_grant(state: str, **more: Any) -> Manifest:
    entry = {"identity": "shop/checkout", "action": Action.PUBLISH.value, "state": state}
    return {"observedGeneration": 1, "grants": [entry | more]}


def test_observed_state_of_a_grant_is_taken_from_the_status() -> None:
    assert published(status_of_grant("InSync")).state == "InSync"
    awaited = published(
        status_of_grant("Live", reason="BrokerUnreachable", message="nobody answers")
    )
    assert (awaited.state, awaited.reason) == ("Live", "BrokerUnreachable")


def test_redrive_that_the_operator_has_granted_is_shown_without_its_review() -> None:
    cluster = in_memory(reviewed_orders(), reviewer())
    stored = copy.deepcopy(cluster.objects["TopicPolicy", ORDERS])
    entry = {"identity": "shop/reviewer", "action": "Publish", "state": "InSync"}
    generation = stored["metadata"]["generation"]
    cluster.put(stored | {"status": {"observedGeneration": generation, "grants": [entry]}})
    (found,) = (
        each
        for each in everything_granted(cluster.world)
        if each.named == "prod.orders.v1" and each.identity.name == "reviewer"
    )
    assert found.state == "InSync"


def test_status_of_an_older_generation_is_ignored() -> None:
    assert published(status_of_grant("InSync") | {"observedGeneration": 0}).state == "Live"


def test_status_that_contradicts_the_declared_consent_is_ignored() -> None:
    found = published(status_of_grant("AwaitingIdentity", reason="PolicyNotNamed"))
    assert (found.state, found.reason) == ("Live", "")


def test_grants_of_a_namespace_that_troth_does_not_watch_are_not_live(tmp_path: Path) -> None:
    found = listed(written(tmp_path), "--watched-namespaces", "shop")
    assert found
    assert all(each["state"] != "Live" for each in found)
