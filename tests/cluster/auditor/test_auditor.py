"""The auditor on a real API server: reports, statuses, Events and metrics, only on change."""

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import yaml

from sandbox import Sandbox
from sandbox.kubeconfig import write_kubeconfig
from tests import builders
from tests.builders import NOW
from tests.cluster import chart
from tests.cluster.auditor.running import Running, install, remove, running
from tests.cluster.conftest import separate_sandbox, with_crds
from tests.cluster.person import Manifest, Person, until, version
from tests.cluster.stage import staged
from troth.audit.facts.traffic import Endpoint, Flow, Traffic
from troth.audit.finding import Finding, Object
from troth.audit.registry import RULE_BY_ID
from troth.audit.registry import RULES as EVERY
from troth.audit.reports.documents import NAME, OPENREPORTS, WGPOLICY
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.resources.references import Ref
from troth.resources.reported import Severity

OWN = "troth-system"
SHOP = "shop"
REPORT = Ref(SHOP, NAME)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    for started in separate_sandbox():
        yield with_crds(started)


@pytest.fixture
async def newcomer(sandbox: Sandbox) -> AsyncIterator[Person]:
    """Yield an administrator of a cluster with a shop and no API of reports."""
    async with Person(sandbox.kubeconfig) as someone:
        for name in (OWN, SHOP):
            await someone.put(builders.namespace(name))
        yield someone
        await someone.delete("Deployment", Ref(SHOP, "web"))
        await someone.delete(IDENTITY, PAYMENTS)
        for api in (OPENREPORTS, WGPOLICY):
            await remove(someone, api)


@pytest.fixture
async def person(newcomer: Person) -> Person:
    """Return an administrator of a cluster with a shop and the CRDs of openreports.io."""
    await install(newcomer, OPENREPORTS)
    return newcomer


def deployment(name: str, account: str = "", namespace: str = SHOP) -> Manifest:
    spec = {"containers": [{"name": "web", "image": "registry.example/web:1"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": spec | ({"serviceAccountName": account} if account else {}),
            },
        },
    }


IDENTITY = "ServiceIdentity"
PAYMENTS = Ref(SHOP, "payments")


def faulty_identity(mended: str = "no") -> Manifest:
    """Return an identity about which the rule of these tests has a finding until it is mended."""
    manifest = builders.identity("payments", SHOP, ports=["https"])
    return {**manifest, "metadata": {**manifest["metadata"], "labels": {"mended": mended}}}


def about_identities(namespace: str) -> Rule:
    """Return a rule with a finding about each identity of a namespace that is not mended."""

    def find(scene: Scene, here: str) -> Iterator[Finding]:
        for each in scene.objects(IDENTITY, here if here == namespace else "-"):
            if (each["metadata"].get("labels") or {}).get("mended") != "yes":
                yield Finding("TR701", Object(IDENTITY, Ref.of(each)), "mend it")

    return replace(RULE_BY_ID["TR701"], reads=frozenset({"Deployment"}), find=find)


def both(scene: Scene, here: str) -> Iterator[Finding]:
    yield from about_identities(SHOP).find(scene, here)
    yield from RULE_BY_ID["TR701"].find(scene, here)


RULES = (replace(RULE_BY_ID["TR701"], find=both),)


def findings(resource: Manifest) -> list[Manifest]:
    return list((resource.get("status") or {}).get("findings") or ())


def traffic(resource: Manifest) -> list[Manifest]:
    return list((resource.get("status") or {}).get("traffic") or ())


def found_in(report: Manifest) -> list[Manifest]:
    return [each for each in report["results"] if each.get("policy", "").startswith("TR7")]


def has_unseen(report: Manifest) -> bool:
    return "list and watch pods" in str(report["results"])


async def events(person: Person) -> list[Manifest]:
    return [
        each
        for each in await person.all("Event", SHOP)
        if each.get("reportingController") == "troth.dev/auditor"
    ]


async def value(auditor: Running, name: str, **labels: str) -> float | None:
    return auditor.metric(name, **labels)


def is_(wanted: float) -> Callable[[float | None], bool]:
    return lambda found: found == wanted


async def account(sandbox: Sandbox, person: Person, ref: Ref) -> Path:
    """Write a kubeconfig for a ServiceAccount."""
    administrator = yaml.safe_load(sandbox.kubeconfig.read_text())
    return write_kubeconfig(
        sandbox.directory / f"{ref.namespace}.{ref.name}.kubeconfig",
        cluster=administrator["clusters"][0]["cluster"],
        user={"token": await person.token(ref)},
        namespace=ref.namespace,
    )


@dataclass(frozen=True)
class Seen:
    """Traffic that somebody has seen."""

    seen: Traffic

    async def traffic(self) -> Traffic:
        return self.seen


def flow(namespace: str) -> Flow:
    """Return connections from outside the cluster to the payments of a namespace."""
    payments = Endpoint(Object("Deployment", Ref(namespace, "payments")))
    return Flow(Endpoint(None, "198.51.100.7"), payments, 8443, "TCP", 3, NOW, NOW, "conntrack")


async def test_finding_is_reported_until_it_is_mended(sandbox: Sandbox, person: Person) -> None:
    await person.put(deployment("web"))
    async with running(sandbox.kubeconfig, OWN) as auditor:
        report = await person.sees("Report", REPORT)
        (result,) = found_in(report)
        assert result["policy"] == "TR701"
        assert auditor.metric("troth_findings", rule="TR701", severity="medium") == 1
        assert NAME in sandbox.kubectl("get", "reports", "--all-namespaces")
        await person.put(deployment("web", account="web"))
        await person.misses("Report", REPORT)
        await auditor.settles()
        assert auditor.metric("troth_findings", rule="TR701", severity="medium") == 0


async def test_nothing_is_written_while_nothing_changes(sandbox: Sandbox, person: Person) -> None:
    """Also not by an auditor that starts again: it finds times and findings in the reports."""
    await person.put(deployment("web"), faulty_identity())
    async with running(sandbox.kubeconfig, OWN, rules=RULES) as auditor:
        await auditor.settles()
    before = await person.the("Report", REPORT), await person.the(IDENTITY, PAYMENTS)
    async with running(sandbox.kubeconfig, OWN, rules=RULES) as auditor:
        await auditor.settles()
        for _ in range(3):
            assert await auditor.auditor.evaluate(None)
        assert not auditor.requests.writes
        assert auditor.requests.events == 0
    assert (await person.the("Report", REPORT), await person.the(IDENTITY, PAYMENTS)) == before


async def test_status_has_the_findings_about_a_resource(sandbox: Sandbox, person: Person) -> None:
    await person.put(faulty_identity())
    async with running(sandbox.kubeconfig, OWN, rules=RULES):
        told = await person.sees(IDENTITY, PAYMENTS, findings)
        (finding,) = findings(told)
        assert (finding["rule"], finding["severity"]) == ("TR701", "medium")
        await person.put(faulty_identity(mended="yes"))
        await person.sees(IDENTITY, PAYMENTS, lambda each: not findings(each))
    await person.delete(IDENTITY, PAYMENTS)


async def test_event_tells_of_a_new_finding_of_high_severity(
    sandbox: Sandbox, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    severe = replace(RULE_BY_ID["TR701"], severity=Severity.HIGH)
    monkeypatch.setitem(RULE_BY_ID, "TR701", severe)
    async with running(sandbox.kubeconfig, OWN, rules=(severe,)) as auditor:
        await auditor.settles()
        await person.put(deployment("web"))
        (event,) = await until(partial(events, person), bool)
        web = await person.the("Deployment", Ref(SHOP, "web"))
        assert event["regarding"]["uid"] == web["metadata"]["uid"]
        assert (event["reason"], event["type"]) == ("DefaultServiceAccount", "Warning")
        await auditor.settles()
        await person.edit("Deployment", Ref(SHOP, "web"), {"spec": {"replicas": 0}})
        await auditor.settles()
        assert len(await events(person)) == 1


# APIs of reports


async def test_no_api_of_reports_is_said_and_one_that_is_installed_later_is_used(
    sandbox: Sandbox, newcomer: Person
) -> None:
    await newcomer.put(deployment("web"))
    async with running(sandbox.kubeconfig, OWN) as auditor:
        await auditor.settles()
        assert auditor.metric("troth_audit_report_api", api="none") == 1
        assert auditor.metric("troth_findings", rule="TR701", severity="medium") == 1
        await install(newcomer, OPENREPORTS)
        await newcomer.sees("Report", REPORT)
        assert auditor.metric("troth_audit_report_api", api="none") == 0
        assert auditor.metric("troth_audit_report_api", api="openreports.io/v1alpha1") == 1


async def test_removed_crds_do_not_end_the_auditor(sandbox: Sandbox, person: Person) -> None:
    await person.put(deployment("web"))
    async with running(sandbox.kubeconfig, OWN) as auditor:
        await person.sees("Report", REPORT)
        await remove(person, OPENREPORTS)
        await person.put(deployment("another"))
        await until(
            partial(value, auditor, "troth_findings", rule="TR701", severity="medium"), is_(2)
        )
        await until(partial(value, auditor, "troth_audit_report_api", api="none"), is_(1))
        await install(person, OPENREPORTS)
        await person.sees("Report", REPORT, lambda each: len(found_in(each)) == 2)
    await person.delete("Deployment", Ref(SHOP, "another"))


async def test_of_both_apis_the_newer_one_is_used_and_the_older_one_cleared(
    sandbox: Sandbox, newcomer: Person
) -> None:
    await install(newcomer, WGPOLICY)
    await newcomer.put(deployment("web"))
    async with running(sandbox.kubeconfig, OWN):
        await newcomer.sees("PolicyReport", REPORT)
        await install(newcomer, OPENREPORTS)
        await newcomer.sees("Report", REPORT)
        await newcomer.misses("PolicyReport", REPORT)
        await newcomer.misses("ClusterPolicyReport", Ref("", NAME))


async def test_report_of_somebody_else_is_left_alone(sandbox: Sandbox, person: Person) -> None:
    foreign = {
        "apiVersion": OPENREPORTS.api_version,
        "kind": "Report",
        "metadata": {"name": NAME, "namespace": SHOP},
        "source": "another",
    }
    await person.put(foreign, deployment("web"))
    before = version(await person.the("Report", REPORT))
    async with running(sandbox.kubeconfig, OWN) as auditor:
        await person.sees("ClusterReport", Ref("", NAME))
        await auditor.settles()
    assert version(await person.the("Report", REPORT)) == before


# Rights


async def test_kind_that_may_not_be_listed_is_unseen_until_the_right_is_granted(
    sandbox: Sandbox, person: Person
) -> None:
    """The chart's account, without the right to list pods."""
    installed = [
        each
        for each in chart.objects("t11111111", "audit.enabled=true")
        if each["metadata"]["name"].startswith("troth-t11111111-auditor")
    ]
    own = "troth-t11111111"
    await person.put(builders.namespace(own))
    role = next(each for each in installed if each["kind"] == "ClusterRole")
    rights, role["rules"] = role["rules"], [dict(each) for each in role["rules"]]
    core = next(each for each in role["rules"] if "pods" in each["resources"])
    core["resources"] = [each for each in core["resources"] if each != "pods"]
    await chart.install(person, installed)
    await person.put(deployment("web"))
    kubeconfig = await account(sandbox, person, Ref(own, f"{own}-auditor"))
    async with running(kubeconfig, own, rules=EVERY) as auditor:
        report = await person.sees("ClusterReport", Ref("", NAME), has_unseen)
        assert "no right to list and watch pods" in str(report["results"])
        assert not [each for each in report["results"] if each["result"] == "pass"]
        assert auditor.metric("troth_audit_unseen", rule="TR701", reason="Denied") == 1
        await person.put({**role, "rules": rights})
        await person.sees("ClusterReport", Ref("", NAME), lambda each: not has_unseen(each))
        assert auditor.metric("troth_audit_unseen", rule="TR701", reason="Denied") == 0
        await auditor.settles()
        assert {each[2] for each in auditor.requests.failures} <= {"403", "404", "429"}
        denied = {(verb, what) for verb, what, code in auditor.requests.failures if code == "403"}
        assert denied <= {("list", "pods"), ("watch", "pods")}
    await chart.uninstall(person, installed)
    await person.delete("Namespace", Ref("", own))


async def test_secrets_are_read_as_metadata_alone(sandbox: Sandbox, person: Person) -> None:
    canary = "canary-5a1b"
    await person.put(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "password", "namespace": SHOP},
            "stringData": {"password": canary},
        }
    )
    async with running(sandbox.kubeconfig, OWN, secret_metadata=True) as auditor:
        await auditor.settles()
        secrets = auditor.auditor.cache.scene.objects("Secret", SHOP)
        assert {each["metadata"]["name"] for each in secrets} == {"password"}
        assert not any(each["data"] for each in secrets)
    async with running(sandbox.kubeconfig, OWN) as auditor:
        await auditor.settles()
        assert not auditor.auditor.cache.scene.objects("Secret")
        assert "secrets" not in auditor.requests.reads
        assert "Secret" in auditor.auditor.cache.scene.hidden


# Beside the operator


async def test_operator_and_auditor_write_one_status_without_fighting(
    sandbox: Sandbox, person: Person
) -> None:
    async with staged(sandbox) as stage:
        await stage.domain()
        payments = await stage.identity("payments", ports=["https"])
        await person.put(deployment("payments", namespace=stage.shop))
        await stage.run()
        rules = (about_identities(stage.shop),)
        watched = Traffic((flow(stage.shop),), NOW)
        async with running(
            sandbox.kubeconfig, stage.own, rules=rules, traffic=Seen(watched)
        ) as auditor:
            await person.sees(IDENTITY, payments, lambda each: findings(each) and traffic(each))
            await person.ready(IDENTITY, payments)
            await stage.settled()
            await auditor.settles()
            before = version(await person.the(IDENTITY, payments))
            await stage.look_again()
            assert await auditor.auditor.evaluate(None)
            await stage.settled()
            await auditor.settles()
            settled = await person.the(IDENTITY, payments)
            assert version(settled) == before
            managers = {
                each["manager"]: set(each["fieldsV1"]["f:status"])
                for each in settled["metadata"]["managedFields"]
                if each.get("subresource") == "status"
            }
            assert managers["troth-auditor"] == {"f:findings", "f:traffic"}
            assert not managers["troth"] & managers["troth-auditor"]
            (peer,) = traffic(settled)
            assert (peer["peer"], peer["verdict"]) == ("198.51.100.7", "WouldBeDenied")
