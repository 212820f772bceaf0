"""The simulated API server answers Troth as the real one does, as far as the benchmark needs."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest

from benchmarks.harness.client import Bare, credentials
from benchmarks.harness.process import Process
from benchmarks.harness.requests import writes
from benchmarks.simulation.bench import fleet_of
from benchmarks.simulation.cluster import Cluster, simulated
from benchmarks.simulation.fleet import Fleet, namespace, pod_changes, space, write
from benchmarks.simulation.selectors import Filter
from benchmarks.simulation.store import Store
from tests.patience import PATIENCE
from troth.cluster.errors import ApiError
from troth.resources.references import Ref

FLEET = Fleet(size=12, namespaces=2)
SPACES = "/api/v1/namespaces"


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with simulated() as found:
        yield found


@pytest.fixture
async def bare(cluster: Cluster) -> AsyncIterator[Bare]:
    async with Bare.connect(cluster.kubeconfig) as client:
        yield client


def secret(name: str, **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {}}


@pytest.mark.parametrize(
    ("labels", "fields", "selected"),
    [
        ("", "", True),
        ("app=a", "", True),
        ("app=b", "", False),
        ("app!=b", "", True),
        ("app!=a", "", False),
        ("app", "", True),
        ("!app", "", False),
        ("other!=x,!other,app=a", "", True),
        ("app=a,other", "", False),
        ("", "metadata.namespace!=shop", False),
        ("", "metadata.name=one", True),
    ],
)
def test_selector_selects(labels: str, fields: str, selected: bool) -> None:
    assert Filter("Secret", "", labels, fields).matches(secret("one", app="a")) is selected


@pytest.mark.parametrize("size", [1, 99, 299, 1055])
def test_fleet_declares_as_many_identities_as_its_size(size: int) -> None:
    fleet = fleet_of(size)
    paths = [each.path for each in fleet.declared()]
    assert len([path for path in paths if "/serviceidentities/" in path]) == fleet.size
    assert size - fleet.namespaces < fleet.size <= size


def test_object_that_leaves_a_selection_is_deleted_for_its_watch() -> None:
    store = Store()
    store.put(secret("one", app="a"))
    events = store.watch(Filter("Secret", labels="app=a"), store.version)
    store.put(secret("one", app="b"))
    store.put(secret("two", app="b"))
    assert b'"DELETED"' in events.get_nowait()
    assert events.empty()


async def test_watch_resumes_after_a_version_and_reports_a_deletion() -> None:
    store = Store()
    store.put(secret("one"))
    version = store.version
    made = store.put(secret("two"))
    await store.delete("Secret", Ref("shop", "two"), made["metadata"]["uid"])
    events = store.watch(Filter("Secret"), version)
    assert [b'"ADDED"' in events.get_nowait(), b'"DELETED"' in events.get_nowait()] == [True, True]
    assert events.empty()


def test_watch_after_a_forgotten_version_is_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.simulation.store.HISTORY", 2)
    store = Store()
    for name in ("one", "two", "three"):
        store.put(secret(name))
    store.watch(Filter("Secret"), store.version - 2)
    with pytest.raises(ApiError) as expired:
        store.watch(Filter("Secret"), 1)
    assert expired.value.status == 410


async def test_pages_of_a_list_are_of_one_version(cluster: Cluster, bare: Bare) -> None:
    await bare.send([write(namespace(number)) for number in range(5)])
    first = await bare.get(f"{SPACES}?limit=3")
    await bare.send([write(namespace(5))])
    rest = await bare.get(f"{SPACES}?limit=3&continue={first['metadata']['continue']}")
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    names = {each["metadata"]["name"] for each in (*first["items"], *rest["items"])}
    assert names == {space(number) for number in range(5)}


async def test_unknown_object_is_not_found(bare: Bare) -> None:
    with pytest.raises(aiohttp.ClientResponseError) as missing:
        await bare.get(f"{SPACES}/absent")
    assert missing.value.status == 404


async def test_client_without_the_roots_is_not_connected(cluster: Cluster) -> None:
    _, server = credentials(cluster.kubeconfig)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get(server, ssl=ssl.create_default_context())


@pytest.mark.long
async def test_fleet_is_ready_and_a_restart_writes_nothing(cluster: Cluster, bare: Bare) -> None:
    async with asyncio.timeout(2 * PATIENCE):
        async with Process.run(cluster) as process:
            await process.ready()
            await bare.send(FLEET.declared())
            await process.settled(FLEET.size)
        async with Process.run(cluster, "--rollouts") as process:
            await process.settled(FLEET.size)
            await process.still()
            assert writes(await process.requests()) == 0


async def test_pod_change_reaches_the_pod_and_its_deployment(bare: Bare) -> None:
    await bare.send(FLEET.workloads())
    for number in range(FLEET.size):
        await bare.send(pod_changes(FLEET, number))
    for path, key in (("/api/v1/pods", "phase"), ("/apis/apps/v1/deployments", "readyReplicas")):
        found = await bare.items(path)
        assert len([each for each in found if key in each.get("status", {})]) == FLEET.size
