"""TR102: one login at a broker, used by several workloads."""

from datetime import timedelta

import pytest

from tests.audit.broker_scene import (
    AT,
    HOSTILE,
    USER,
    client,
    found,
    messages,
    observed_broker,
    pod,
    scene,
    sentences,
)
from tests.audit.pages import NOW, evaluated
from tests.audit.scenes import job
from tests.builders import Manifest
from troth.audit.rules.credentials.shared_broker_login import RULE
from troth.resources.identity.spec import Enforcement, ServiceIdentity

SHARED = observed_broker(clients=[client(USER, "10.0.0.1", "10.0.0.2")])
ORDERS, REPORTS = pod("orders", "10.0.0.1"), pod("reports", "10.0.0.2", "finance")


def run(name: str, address: str) -> Manifest:
    return pod("nightly", address, owner=("Job", name))


def test_workloads_and_addresses_are_named() -> None:
    evaluation = found(RULE, SHARED, ORDERS, REPORTS)
    assert messages(evaluation) == [
        (
            f"the login {USER} is shared by Deployment finance/reports, Deployment shop/orders; "
            "give each workload a ServiceIdentity, and with it a principal of its own"
        )
    ]
    assert list(sentences(evaluation)) == [
        (
            "MessageBroker messaging/main status.observed.clients: "
            f"{USER} is connected from 10.0.0.1, 10.0.0.2"
        ),
        (
            "Pod shop/orders-10-0-0-1 status.podIPs: has the address 10.0.0.1 and belongs to "
            "Deployment shop/orders"
        ),
        (
            "Pod finance/reports-10-0-0-2 status.podIPs: has the address 10.0.0.2 and belongs to "
            "Deployment finance/reports"
        ),
    ]


def test_address_of_no_pod_is_evidence_and_no_workload() -> None:
    assert not messages(found(RULE, SHARED, ORDERS))
    three = observed_broker(clients=[client(USER, "10.0.0.1", "10.0.0.2", "192.0.2.7")])
    assert "192.0.2.7" in next(iter(sentences(found(RULE, three, ORDERS, REPORTS))))


@pytest.mark.parametrize(
    "other",
    [
        pod("reports", "10.0.0.2", host_network=True),
        pod("reports", "10.0.0.2", started=AT + timedelta(seconds=1)),
        pod("reports", "10.0.0.2")
        | {"status": {"phase": "Succeeded", "podIPs": [{"ip": "10.0.0.2"}]}},
        pod("orders", "10.0.0.2"),
    ],
    ids=["host network", "started later", "ended", "same workload"],
)
def test_pod_that_may_not_be_the_client_does_not_count(other: Manifest) -> None:
    assert not messages(found(RULE, SHARED, ORDERS, other))


def test_address_that_two_pods_have_is_of_none() -> None:
    assert not messages(found(RULE, SHARED, ORDERS, REPORTS, pod("third", "10.0.0.2")))


def test_pods_of_one_identity_are_one_user() -> None:
    """The identity `checkout` selects `app: checkout`, in whichever workload."""
    one = pod("checkout", "10.0.0.1")
    canary = pod("checkout", "10.0.0.2", owner=("StatefulSet", "canary"))
    assert not messages(found(RULE, SHARED, one, canary))


def test_jobs_of_a_cron_job_are_one_user() -> None:
    one, two = run("nightly-29001", "10.0.0.1"), run("nightly-29002", "10.0.0.2")
    jobs = [job(name, "nightly") for name in ("nightly-29001", "nightly-29002")]
    assert not messages(found(RULE, SHARED, one, two, *jobs))
    assert messages(found(RULE, SHARED, one, two)), "Jobs by hand are workloads of their own"


def test_principal_of_an_identity_and_group_are_left_to_another_rule() -> None:
    own = observed_broker(clients=[client("troth-shop.checkout", "10.0.0.1", "10.0.0.2")])
    group = {"group": "fulfilment", "addresses": ["10.0.0.1", "10.0.0.2"]}
    assert not messages(found(RULE, own, ORDERS, REPORTS))
    assert not messages(found(RULE, observed_broker(clients=[group]), ORDERS, REPORTS))


def test_finding_stays_the_same_while_pods_are_replaced() -> None:
    (before,) = found(RULE, SHARED, ORDERS, REPORTS).findings
    moved = observed_broker(clients=[client(USER, "10.0.0.1", "10.0.0.9")])
    (after,) = found(RULE, moved, ORDERS, pod("reports", "10.0.0.9", "finance")).findings
    assert (before.key, before.message) == (after.key, after.message)


def test_way_out_is_an_identity_for_each_workload_without_one() -> None:
    checkout = pod("checkout", "10.0.0.1")
    place = scene(SHARED, checkout, REPORTS)
    (finding,) = evaluated(RULE, place).findings
    fix = RULE.fix(place, finding)
    (made,) = fix.manifests
    identity = ServiceIdentity.parse(made)
    assert identity.ref == ("finance", "reports")
    assert identity.spec.workload.pod_selector.match_labels == {"app": "reports"}
    assert identity.spec.enforcement is Enforcement.OBSERVE, "it denies nothing as it is printed"
    assert fix.steps


def test_hostile_names_are_shown_as_the_status_has_them() -> None:
    hostile = observed_broker(clients=[client(HOSTILE, "10.0.0.1", "10.0.0.2", names=[HOSTILE])])
    for line in sentences(found(RULE, hostile, ORDERS, REPORTS)):
        assert line.isprintable()


def test_observation_is_older_than_now() -> None:
    assert AT < NOW
