"""A restore writes only over objects that are as it read them, and while no operator leads."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.builders import Manifest, domain
from troth.cli.backup import restoring
from troth.cluster.errors import ApiError
from troth.resources.faults import FaultyManifests
from troth.resources.references import Ref

STATUS = {"observedGeneration": 1, "conditions": []}


class Server:
    """Checks the preconditions of writes as the API server does."""

    def __init__(self, *leases: Manifest) -> None:
        self.leases = leases
        self.objects: dict[tuple[str, Ref], Manifest] = {}
        self.interferes = False
        """Whether another client writes each object after it was created or read."""
        self._version = 1

    async def listed(self, kind: str, namespace: str = "", **_: str) -> list[Manifest]:
        if kind == "Lease":
            return [
                each for each in self.leases if namespace in ("", each["metadata"]["namespace"])
            ]
        return [self._seen(place) for place in self.objects if place[0] == kind]

    async def create(self, manifest: Manifest) -> Manifest:
        place = manifest["kind"], Ref.of(manifest)
        self.objects[place] = {**manifest, "metadata": {**manifest["metadata"], "uid": "u"}}
        self._written(place)
        return self._seen(place)

    async def merge_patch(self, kind: str, ref: Ref, patch: Manifest, _: str = "") -> Manifest:
        found = self.objects[kind, ref]
        wanted = patch["metadata"].get("resourceVersion", found["metadata"]["resourceVersion"])
        if wanted != found["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "the object has been modified")
        metadata = {**found["metadata"], **patch["metadata"]}
        self.objects[kind, ref] = {**found, **patch, "metadata": metadata}
        self._written((kind, ref))
        return self._seen((kind, ref))

    def _seen(self, place: tuple[str, Ref]) -> Manifest:
        found = self.objects[place]
        seen = {**found, "metadata": dict(found["metadata"])}
        if self.interferes:
            self._written(place)
        return seen

    def _written(self, place: tuple[str, Ref]) -> None:
        self._version += 1
        self.objects[place]["metadata"]["resourceVersion"] = str(self._version)


def lease(namespace: str) -> Manifest:
    metadata = {"name": "troth-operator", "namespace": namespace}
    return {"kind": "Lease", "metadata": metadata, "spec": {"holderIdentity": "me"}}


def saved() -> Manifest:
    manifest = {**domain(), "status": STATUS}
    manifest["metadata"] = {"name": "production", "managedFields": [{"manager": "flux"}]}
    return manifest


async def restore(
    server: Server, monkeypatch: pytest.MonkeyPatch, own: str | None = None
) -> restoring.Report:
    @asynccontextmanager
    async def connected(*_: Any) -> AsyncIterator[Server]:
        yield server

    monkeypatch.setattr(restoring, "connected", connected)
    return await restoring.restored([saved()], None, None, own)


async def test_restored_resource_has_its_status_and_managers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server()
    report = await restore(server, monkeypatch)
    (made,) = server.objects.values()
    assert report.created == 1
    assert made["status"] == STATUS
    assert made["metadata"]["managedFields"] == [{"manager": "flux"}]


@pytest.mark.parametrize("own", [None, "troth-system"])
async def test_operator_that_leads_stops_a_restore(
    own: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(lease("troth-system"))
    with pytest.raises(FaultyManifests, match="the operator me leads"):
        await restore(server, monkeypatch, own)
    assert not server.objects


async def test_lease_of_another_namespace_does_not_stop_a_restore(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = Server(lease("shop"))
    with pytest.raises(FaultyManifests, match="--own-namespace"):
        await restore(server, monkeypatch)
    await server.create({"kind": "Namespace", "metadata": {"name": "troth-system"}})
    report = await restore(server, monkeypatch, "troth-system")
    assert report.created == 1


async def test_own_namespace_that_does_not_exist_stops_a_restore(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With a typo, the Lease of the operator that leads would not be found."""
    server = Server(lease("troth-system"))
    with pytest.raises(FaultyManifests, match='--own-namespace: "troth-sytem" does not exist'):
        await restore(server, monkeypatch, "troth-sytem")
    assert not server.objects


@pytest.mark.parametrize("exists", [True, False])
async def test_status_that_changed_meanwhile_is_not_overwritten(
    monkeypatch: pytest.MonkeyPatch, *, exists: bool
) -> None:
    server = Server()
    if exists:
        unobserved = {**domain(), "status": {"observedGeneration": -1}}
        await server.create({**unobserved, "metadata": {"name": "production"}})
    server.interferes = True
    with pytest.raises(FaultyManifests, match="409"):
        await restore(server, monkeypatch)
    (made,) = server.objects.values()
    assert made.get("status", {}).get("observedGeneration", -1) == -1
