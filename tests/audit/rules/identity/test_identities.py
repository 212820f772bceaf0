"""Shared accounts, long-lived tokens, certificates near their end and stale trust bundles."""

from datetime import timedelta

import pytest

from tests.audit.scenes import findings, job, live, pod, severities
from tests.builders import DAY, NOW, Manifest, domain, gateway_only, identity, stamp
from troth.audit.registry import RULE_BY_ID
from troth.resources.reported import Severity

SECRET = "c2VjcmV0LWNvbnRlbnQ="


def test_jobs_of_a_cron_job_are_one_workload() -> None:
    runs = [pod(f"night-{n}", kind="Job", serviceAccountName="night") for n in (1, 2)]
    jobs = [job(f"night-{n}", "night") for n in (1, 2)]
    assert not findings("TR702", live(*runs, *jobs))
    assert findings("TR702", live(*runs)), "Jobs without a CronJob are workloads of their own"


def test_workloads_with_one_account_are_found_unless_one_identity_selects_them() -> None:
    pods = [pod(name, serviceAccountName="shared", labels={"app": "x", "n": name}) for name in "ab"]
    scene = live(*pods)
    (finding,) = findings("TR702", scene)
    assert len(finding.evidence) == 2
    assert not findings("TR702", live(*pods, identity("x", account="shared")))
    two = [identity(name, pods={"matchLabels": {"n": name}}) for name in "ab"]
    assert findings("TR702", live(*pods, *two))


def test_pods_of_probes_share_the_account_of_their_caller() -> None:
    """They have the labels of the caller as well, and one label hides nothing from other rules."""
    labels = {"app": "web", "troth.dev/probe": "true"}
    probe = pod("troth-probe-web-x2x4l-0", kind="Job", labels=labels, serviceAccountName="web")
    assert not findings("TR702", live(pod("web"), probe))
    labelled = pod("api", labels=labels, serviceAccountName="web")
    assert findings("TR702", live(pod("web"), labelled)), "a StatefulSet is no probe"
    assert findings("TR601", live(probe))


def token_secret(name: str = "deployer-token") -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": "shop",
            "annotations": {"kubernetes.io/service-account.name": "deployer"},
        },
        "type": "kubernetes.io/service-account-token",
        "data": {"token": SECRET},
    }


def account(name: str, *secrets: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": "shop"},
        "secrets": [{"name": each} for each in secrets],
    }


def test_token_that_a_pod_uses_is_one_finding_with_all_evidence() -> None:
    volume = {"name": "token", "secret": {"secretName": "deployer-token"}}
    scene = live(
        token_secret(), account("deployer", "deployer-token"), pod("web", volumes=[volume])
    )
    (finding,) = findings("TR703", scene)
    assert [each.object.kind for each in finding.evidence] == [
        "Secret",
        "ServiceAccount",
        "StatefulSet",
    ]
    assert SECRET not in repr(finding)
    fix = RULE_BY_ID["TR703"].fix(scene, finding)
    (patch,) = fix.patches
    assert patch.patch == {"secrets": None}
    assert "kubectl delete secret/deployer-token --namespace=shop" in fix.steps[-1]


def test_listed_secret_that_is_no_object_does_not_stop_the_fix() -> None:
    listing = {
        **account("deployer", "deployer-token"),
        "secrets": ["x", {"name": "deployer-token"}],
    }
    scene = live(token_secret(), listing)
    (finding,) = findings("TR703", scene)
    (patch,) = RULE_BY_ID["TR703"].fix(scene, finding).patches
    assert patch.patch == {"secrets": ["x"]}


def test_metadata_alone_tells_a_token() -> None:
    bare = token_secret()
    del bare["type"], bare["data"]
    assert findings("TR703", live(bare))


@pytest.mark.parametrize(
    ("listed", "found"),
    [
        ("deployer-token-x7k2p", 1),
        ("deployer-dockercfg-x7k2p", 0),
        ("other-token-x7k2p", 0),
        ("deployer-token", 0),
        ("deployer-token-aeiou", 0),
    ],
)
def test_unseen_secrets_count_by_the_names_that_kubernetes_generated(
    listed: str, found: int
) -> None:
    assert len(findings("TR703", live(account("deployer", listed)))) == found


def certificate(**status: str) -> Manifest:
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": "web", "namespace": "shop"},
        "status": status,
    }


def lasting(lifetime: timedelta, left: timedelta, renewal: timedelta) -> Manifest:
    """Return a certificate whose renewal is due at a time from now."""
    end = NOW + left
    return certificate(
        notBefore=stamp(end - lifetime), notAfter=stamp(end), renewalTime=stamp(NOW + renewal)
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (lasting(90 * DAY, -DAY, -31 * DAY), [Severity.HIGH]),
        (lasting(90 * DAY, 6 * DAY, -24 * DAY), [Severity.MEDIUM]),
        (lasting(90 * DAY, 8 * DAY, -22 * DAY), [Severity.MEDIUM]),
        (lasting(90 * DAY, 20 * DAY, -10 * DAY), []),
        (lasting(30 * DAY, 6 * DAY, -4 * DAY), [Severity.MEDIUM]),
        (lasting(30 * DAY, 6 * DAY, 2 * DAY), []),
        (lasting(DAY, DAY / 4, -DAY / 12), []),
        (lasting(DAY, DAY / 12, -DAY / 4), [Severity.MEDIUM]),
        (certificate(), []),
        (certificate(notAfter="never", renewalTime="soon"), []),
        (certificate(notAfter="2020-01-01T00:00:00"), []),
        (certificate(notAfter=stamp(NOW - DAY)), [Severity.HIGH]),
    ],
)
def test_certificate_is_found_once_its_renewal_is_overdue_and_little_time_is_left(
    found: Manifest, expected: list[Severity]
) -> None:
    assert severities("TR704", live(found)) == expected


RETIRED = domain() | {
    "status": {
        "retiredAuthorities": [
            {"fingerprint": "0123456789abcdef", "retiredAt": stamp(NOW - DAY)},
            {"fingerprint": "fedcba9876543210", "retiredAt": stamp(NOW - 300 * DAY)},
        ]
    }
}
SECRET_VOLUME = {"name": "identity", "secret": {"secretName": "payments-identity"}}
BUNDLE_VOLUME = {"name": "bundle", "configMap": {"name": "trust-bundle"}}


@pytest.mark.parametrize("volume", [SECRET_VOLUME, BUNDLE_VOLUME])
def test_pod_that_started_before_a_root_was_retired_is_found(volume: Manifest) -> None:
    scene = live(RETIRED, identity(), pod("payments", volumes=[volume]))
    (finding,) = findings("TR705", scene)
    (patch,) = RULE_BY_ID["TR705"].fix(scene, finding).patches
    assert patch.patch["spec"]["onRotation"] == {
        "restart": [{"kind": "StatefulSet", "name": "payments"}]
    }


def test_pods_that_read_no_bundle_or_are_restarted_are_not_stale() -> None:
    restart = {"restart": [{"kind": "StatefulSet", "name": "payments"}]}
    mounted = pod("payments", volumes=[SECRET_VOLUME])
    fresh = pod("payments", volumes=[SECRET_VOLUME])
    fresh["status"]["startTime"] = stamp(NOW)
    trust = identity(authentication=gateway_only("ingress", NOW + DAY))
    for scene in (
        live(RETIRED, identity(), pod("payments")),
        live(RETIRED, identity(onRotation=restart), mounted),
        live(RETIRED, identity(), fresh),
        live(RETIRED, trust, mounted),
        live(identity(), mounted),
    ):
        assert not findings("TR705", scene)


def test_malformed_objects_in_files_are_no_findings_and_no_errors() -> None:
    odd = certificate() | {"status": ["expired"]}
    listed = account("deployer") | {"secrets": ["deployer-token-x7k2p"]}
    labelled = token_secret()
    labelled["metadata"]["annotations"] = ["kubernetes.io/service-account.name"]
    del labelled["type"]
    scene = live(odd, listed, labelled)
    assert not findings("TR703", scene)
    assert not findings("TR704", scene)
