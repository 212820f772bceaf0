"""TR103: the principal of an identity, used by pods that it does not select."""

import pytest

from tests.audit.broker_scene import (
    client,
    found,
    messages,
    observed_broker,
    pod,
    scene,
    sentences,
)
from tests.audit.pages import evaluated
from tests.audit.scenes import job
from tests.builders import Manifest
from tests.messaging import KAFKA
from troth.audit.rules.credentials.principal_used_elsewhere import RULE
from troth.resources.reported import Severity

OWN = "troth-shop.fulfilment"
FULFILMENT, REPORTS = pod("fulfilment", "10.0.0.1"), pod("reports", "10.0.0.2")


def group(name: str, *addresses: str, **spec: object) -> Manifest:
    found = observed_broker(
        described=KAFKA, clients=[{"group": name, "addresses": list(addresses)}]
    )
    found["spec"]["owns"] |= spec
    return found


def test_foreign_workload_is_named() -> None:
    used = observed_broker(clients=[client(OWN, "10.0.0.1", "10.0.0.2", names=["worker"])])
    evaluation = found(RULE, used, FULFILMENT, REPORTS)
    (finding,) = evaluation.findings
    assert RULE.severity is Severity.CRITICAL
    assert str(finding.subject) == "ServiceIdentity shop/fulfilment"
    assert finding.message == (
        "its principal at MessageBroker messaging/main is used by Deployment shop/reports, which "
        "the identity does not select; replace the credential, and find out how that workload got "
        "it"
    )
    assert list(sentences(evaluation)) == [
        (
            "MessageBroker messaging/main status.observed.clients: troth-shop.fulfilment is "
            "connected from 10.0.0.2, named worker"
        ),
        (
            "Pod shop/reports-10-0-0-2 status.podIPs: has the address 10.0.0.2 and belongs to "
            "Deployment shop/reports"
        ),
        "ServiceIdentity shop/fulfilment spec.workload.podSelector: does not select these pods",
    ]


def test_pod_with_the_labels_in_another_namespace_is_foreign() -> None:
    used = observed_broker(clients=[client(OWN, "10.0.0.2")])
    assert messages(found(RULE, used, pod("fulfilment", "10.0.0.2", "attacker")))


def test_own_pods_and_addresses_of_no_pod_are_no_finding() -> None:
    used = observed_broker(clients=[client(OWN, "10.0.0.1", "192.0.2.7")])
    assert not messages(found(RULE, used, FULFILMENT))


def test_each_foreign_workload_is_a_finding() -> None:
    used = observed_broker(clients=[client(OWN, "10.0.0.2", "10.0.0.3", "10.0.0.4")])
    others = (REPORTS, pod("reports", "10.0.0.3"), pod("other", "10.0.0.4"))
    assert len(messages(found(RULE, used, *others))) == 2


def test_runs_of_a_foreign_cron_job_are_one_finding() -> None:
    used = observed_broker(clients=[client(OWN, "10.0.0.2", "10.0.0.3")])
    runs = [pod("night", f"10.0.0.{n}", owner=("Job", f"night-{n}")) for n in (2, 3)]
    jobs = [job(f"night-{n}", "night") for n in (2, 3)]
    evaluation = found(RULE, used, *runs, *jobs)
    (finding,) = evaluation.findings
    assert finding.about == "messaging/main CronJob shop/night"
    assert sum("belongs to CronJob shop/night" in each for each in sentences(evaluation)) == 2


@pytest.mark.parametrize("principal", ["troth-shop.gone", "troth-", "legacy", "troth-shop"])
def test_principal_of_no_identity_is_no_finding(principal: str) -> None:
    used = observed_broker(clients=[client(principal, "10.0.0.2")])
    assert not messages(found(RULE, used, REPORTS))


def test_member_of_the_group_of_one_identity_is_taken_for_it() -> None:
    assert messages(found(RULE, group("fulfilment", "10.0.0.2"), REPORTS)) == [
        (
            "its group fulfilment at MessageBroker messaging/main is used by Deployment "
            "shop/reports, which the identity does not select; replace the credential, and find "
            "out how that workload got it"
        )
    ]


def test_member_of_a_shared_or_unknown_group_is_taken_for_nobody() -> None:
    shared = group("fulfilment", "10.0.0.2", sharedGroups=["fulfilment"])
    assert not messages(found(RULE, shared, REPORTS))
    assert not messages(found(RULE, group("other", "10.0.0.2"), REPORTS))


def test_way_out_names_the_secret_of_the_credential() -> None:
    place = scene(observed_broker(clients=[client(OWN, "10.0.0.2")]), REPORTS)
    (finding,) = evaluated(RULE, place).findings
    steps = " ".join(RULE.fix(place, finding).steps)
    assert "Delete the Secret shop/fulfilment-main" in steps


def test_way_out_of_a_certificate_is_a_rotation() -> None:
    by_certificate = {"kafka": KAFKA["kafka"] | {"clients": "MTLS"}}
    used = observed_broker(described=by_certificate, clients=[client(OWN, "10.0.0.2")])
    place = scene(used, REPORTS)
    (finding,) = evaluated(RULE, place).findings
    steps = " ".join(RULE.fix(place, finding).steps)
    assert "troth rotate sid/fulfilment --namespace shop --now" in steps
