"""Evaluations at an API server that fails, and times that others wrote down."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import cast

from tests import builders
from tests.auditor.store import SERVED, Store
from tests.builders import Manifest
from troth.audit.evaluation import Evaluation
from troth.audit.finding import Finding, Object
from troth.audit.registry import RULE_BY_ID
from troth.audit.reports.documents import OPENREPORTS, reports
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.auditor.auditor import Auditor, Settings
from troth.cluster.api import ApiServer
from troth.resources.references import Ref
from troth.resources.reported import Severity

NOW = builders.NOW
BEFORE = NOW - timedelta(days=7)
FINDINGS = tuple(
    Finding("TR701", Object(kind, Ref("shop", kind.lower())), "mend it", severity=Severity.HIGH)
    for kind in ("ReplicaSet", "Rollout", "ServiceIdentity", "StrimziPodSet")
)


def find(_: Scene, namespace: str) -> Iterator[Finding]:
    yield from FINDINGS if namespace == "shop" else ()


RULES: tuple[Rule, ...] = (replace(RULE_BY_ID["TR701"], find=find),)


def auditor(store: Store, created: datetime = BEFORE) -> Auditor:
    made = Auditor(
        cast("ApiServer", store), Settings("troth-system", "test", rules=RULES), now=lambda: NOW
    )
    assert made._reports.take_served(SERVED)
    manifest = builders.identity("serviceidentity", "shop")
    metadata = {**manifest["metadata"], "creationTimestamp": created.isoformat()}
    made.cache.observe({**manifest, "metadata": metadata})
    return made


def report(namespace: str, at: datetime) -> Manifest:
    """Return a report that has the findings of the shop, in some namespace."""
    (made, _) = reports(Evaluation(FINDINGS, ()), at, OPENREPORTS, {})
    return {**made, "metadata": {**made["metadata"], "namespace": namespace, "uid": "u"}}


def stored(*manifests: Manifest) -> Store:
    return Store({(each["kind"], Ref.of(each)): each for each in manifests})


def since(store: Store) -> str:
    (status,) = store.statuses
    (finding,) = status["status"]["findings"]
    return str(finding["since"])


def failures(made: Auditor, kind: str) -> float:
    found = made.metrics.registry.get_sample_value(
        "troth_audit_write_failures_total", {"kind": kind}
    )
    return found or 0.0


async def test_new_finding_about_any_kind_gets_an_event() -> None:
    store = Store()
    made = auditor(store)
    assert await made.evaluate(None)
    assert [each["regarding"]["kind"] for each in store.events] == [
        each.subject.kind for each in FINDINGS
    ]
    assert failures(made, "Event") == 0


async def test_reports_that_cannot_be_listed_do_not_stop_an_evaluation() -> None:
    store = stored(report("shop", BEFORE))
    store.denied = {"list"}
    made = auditor(store)
    assert not await made.evaluate(None)
    assert made.ready
    assert failures(made, "Report")
    assert store.statuses
    assert not store.events
    store.denied = set()
    store.statuses.clear()
    assert await made.evaluate(None)
    assert datetime.fromisoformat(since(store)) == BEFORE
    assert not store.events


async def test_auditor_that_starts_again_keeps_times_and_posts_no_event() -> None:
    store = stored(report("shop", BEFORE))
    assert await auditor(store).evaluate(None)
    assert datetime.fromisoformat(since(store)) == BEFORE
    assert not store.events


async def test_report_in_another_namespace_neither_predates_a_finding_nor_hides_it() -> None:
    store = stored(report("tenant", BEFORE))
    assert await auditor(store).evaluate(None)
    assert datetime.fromisoformat(since(store)) == NOW
    assert len(store.events) == len(FINDINGS)


async def test_finding_is_not_older_than_its_subject() -> None:
    store = stored(report("shop", BEFORE))
    assert await auditor(store, created=BEFORE + timedelta(seconds=1)).evaluate(None)
    assert datetime.fromisoformat(since(store)) == NOW
    assert [each["regarding"]["kind"] for each in store.events] == ["ServiceIdentity"]


async def test_reports_are_listed_again_only_on_request() -> None:
    store = Store()
    made = auditor(store)
    await made.evaluate(None)
    store.requests.clear()
    await made.evaluate(None)
    assert store.requests == []
    await made.evaluate(None, list_reports=True)
    assert set(store.requests) == {"list"}
