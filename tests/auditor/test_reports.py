"""Reports at an API server that fails, and nothing written while nothing changes."""

from dataclasses import replace
from typing import cast

from tests import builders
from tests.auditor.store import SERVED, Store
from tests.builders import Manifest
from troth.audit.evaluation import Evaluation
from troth.audit.finding import Finding, Object
from troth.audit.reports.documents import OPENREPORTS
from troth.auditor.reports import ReportWriter
from troth.cluster.api import ApiServer
from troth.resources.references import Ref

NOW = builders.NOW
FINDING = Finding("TR701", Object("Deployment", Ref("shop", "web")), "mend it")
FOUND, NOTHING = Evaluation((FINDING,), ()), Evaluation((), ())
SEEN = {FINDING.id: NOW}


def writer(store: Store) -> tuple[ReportWriter, list[str]]:
    failed: list[str] = []
    made = ReportWriter(cast("ApiServer", store), failed.append)
    assert made.take_served(SERVED)
    return made, failed


async def write(made: ReportWriter, found: Evaluation, *, whole: bool = False) -> bool:
    return await made.write(found, SEEN, NOW, whole=whole)


async def test_reports_are_written_once_and_deleted_when_nothing_is_found() -> None:
    store = Store()
    made, failed = writer(store)
    assert await write(made, FOUND)
    store.requests.clear()
    assert await write(made, FOUND)
    assert store.requests == []
    assert await write(made, FOUND, whole=True)
    assert set(store.requests) == {"list"}
    assert await write(made, NOTHING)
    assert {kind for kind, _ in store.objects} == {"ClusterReport"}
    assert not failed


async def test_report_that_somebody_deleted_is_written_again_with_the_next_whole_evaluation() -> (
    None
):
    store = Store()
    made, _ = writer(store)
    await write(made, FOUND)
    store.objects.clear()
    assert await write(made, FOUND, whole=True)
    assert ("Report", Ref("shop", "troth-audit")) in store.objects


async def test_rejected_write_is_counted_and_repeated() -> None:
    store = Store(denied={"create"})
    made, failed = writer(store)
    assert not await write(made, FOUND)
    assert set(failed) == {"Report", "ClusterReport"}
    store.denied.clear()
    assert await write(made, FOUND)
    assert ("Report", Ref("shop", "troth-audit")) in store.objects


async def test_reports_that_may_not_be_listed_are_not_written() -> None:
    store = Store(denied={"list"})
    made, failed = writer(store)
    assert not await write(made, FOUND)
    assert (store.objects, failed) == ({}, ["Report"])
    assert await made.first_seen(NOW) is None
    assert failed == ["Report"] * 2


async def test_times_come_from_the_existing_reports() -> None:
    store = Store()
    await write(writer(store)[0], FOUND)
    assert await writer(store)[0].first_seen(NOW) == {("shop", FINDING.id): NOW}


FOREIGN: Manifest = {
    "apiVersion": OPENREPORTS.api_version,
    "kind": "Report",
    "metadata": {"name": "troth-audit", "namespace": "shop", "uid": "u"},
}
PLACE = ("Report", Ref("shop", "troth-audit"))


def foreign() -> Store:
    return Store({PLACE: FOREIGN})


def cluster_results(store: Store) -> list[Manifest]:
    results: list[Manifest] = store.objects["ClusterReport", Ref("", "troth-audit")]["results"]
    return results


async def test_report_of_somebody_else_is_counted_and_named_in_the_cluster_report() -> None:
    store = foreign()
    made, failed = writer(store)
    assert await write(made, FOUND, whole=True)
    assert failed == ["Report"]
    (result,) = cluster_results(store)
    assert (result["result"], result["scored"]) == ("error", False)
    assert result["message"].endswith("rename it or delete it: Report shop/troth-audit")


async def test_report_of_somebody_else_is_not_changed_by_later_findings() -> None:
    store = foreign()
    made, _ = writer(store)
    await write(made, FOUND, whole=True)
    store.requests.clear()
    assert await write(made, Evaluation((FINDING, replace(FINDING, about="more")), ()))
    assert store.objects[PLACE] == FOREIGN
    assert store.requests == []


async def test_report_of_somebody_else_is_counted_again_and_the_cluster_report_stays() -> None:
    store = foreign()
    made, failed = writer(store)
    await write(made, FOUND, whole=True)
    store.requests.clear()
    await write(made, FOUND, whole=True)
    assert failed == ["Report"] * 2
    assert set(store.requests) == {"list", "create"}
    del store.objects[PLACE]
    await write(made, FOUND, whole=True)
    assert cluster_results(store) == []
    assert failed == ["Report"] * 2


async def test_nodes_that_could_not_be_read_are_in_the_cluster_report_alone() -> None:
    store = Store()
    made, _ = writer(store)
    assert await made.write(FOUND, SEEN, NOW, whole=True, blind=("node a: no log",) * 20)
    (result,) = cluster_results(store)
    assert (result["rule"], result["result"]) == ("ConnectionsNotSeen", "warn")
    assert "node a: no log" in result["message"]
    assert result["message"].endswith("and 4 more")
    assert "no log" not in str(store.objects[PLACE])
