"""Kinds that come, go, are served in another version, or cannot be listed."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

import pytest

from tests import builders
from tests.builders import Manifest
from tests.patience import PATIENCE
from troth.audit.scene import Scene
from troth.auditor.cache import SceneCache
from troth.auditor.watches import Watches
from troth.cluster.api import ApiServer
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection

V1, V1BETA1 = "networking.istio.io/v1", "networking.istio.io/v1beta1"


@dataclass
class Cluster:
    """An API server that serves some resources, and fails to list some."""

    serves: set[tuple[str, str]] = field(default_factory=set)
    failing: dict[str, ApiError] = field(default_factory=dict)

    async def document(self, what: str, path: str, accept: str) -> Manifest:
        assert what
        assert accept
        items = [_group(*each) for each in self.serves if path == "/apis" or "/" not in each[0]]
        return {"items": items}

    async def pages(self, selection: Selection) -> AsyncIterator[Manifest]:
        if selection.kind in self.failing:
            raise self.failing[selection.kind]
        yield {"metadata": {"resourceVersion": "7"}, "items": []}

    async def watch(
        self, _: Selection, version: str, silence: float, on_open: Callable[[], None]
    ) -> AsyncIterator[Manifest]:
        assert version
        on_open()
        await asyncio.sleep(silence)
        yield {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}


def _group(group_version: str, plural: str) -> Manifest:
    group, _, version = group_version.rpartition("/")
    return {
        "metadata": {"name": group},
        "versions": [{"version": version, "resources": [{"resource": plural}]}],
    }


def watches(cluster: Cluster, *kinds: str, patience: float = 60.0) -> tuple[Watches, Scene]:
    scene = Scene(now=builders.NOW, in_cluster=True)
    made = Watches(
        cast("ApiServer", cluster),
        SceneCache(scene),
        {each: Selection(each) for each in kinds},
        look_every=0.05,
        patience=patience,
    )
    return made, scene


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - nothing tells of a change
            await asyncio.sleep(0.01)


async def until_hidden(scene: Scene, kind: str, *, hidden: bool = True) -> None:
    await until(lambda: (kind in scene.hidden) is hidden)


@pytest.mark.parametrize(
    ("kind", "served", "said"),
    [
        ("VirtualService", (V1BETA1, "virtualservices"), f"only in version {V1BETA1}"),
        (
            "HTTPRoute",
            ("gateway.networking.k8s.io/v1beta1", "httproutes"),
            "only in version gateway.networking.k8s.io/v1beta1",
        ),
        (
            "Middleware",
            ("traefik.containo.us/v1alpha1", "middlewares"),
            "only in version traefik.containo.us/v1alpha1",
        ),
    ],
    ids=["istio", "gateway", "traefik"],
)
async def test_kind_that_is_served_in_another_version_is_hidden(
    kind: str, served: tuple[str, str], said: str
) -> None:
    made, scene = watches(Cluster({served}), kind)
    await made.look()
    assert said in scene.hidden[kind]
    assert made.settled


async def test_kind_of_another_group_with_the_same_plural_is_not_missed() -> None:
    made, scene = watches(Cluster({("gateway.solo.io/v1", "virtualservices")}), "VirtualService")
    await made.look()
    assert scene.hidden == {}


async def test_kind_is_shown_once_its_version_is_served_or_the_other_is_gone() -> None:
    cluster = Cluster({(V1BETA1, "virtualservices")})
    made, scene = watches(cluster, "VirtualService")
    await made.look()
    cluster.serves.clear()
    await made.look()
    assert scene.hidden == {}
    cluster.serves = {(V1BETA1, "virtualservices")}
    await made.look()
    task = asyncio.create_task(made.run())
    cluster.serves.add((V1, "virtualservices"))
    await until_hidden(scene, "VirtualService", hidden=False)
    await _end(task)


async def test_kind_whose_list_fails_is_hidden_until_it_succeeds() -> None:
    cluster = Cluster({("apps/v1", "deployments"), ("v1", "pods")})
    cluster.failing["Deployment"] = ApiError(500, "InternalError", "conversion webhook")
    made, scene = watches(cluster, "Deployment", "Pod", patience=0.3)
    task = asyncio.create_task(made.run())
    await asyncio.sleep(0.1)
    settled = made.settled
    assert not settled
    await until_hidden(scene, "Deployment")
    assert "500 InternalError" in scene.hidden["Deployment"]
    assert made.settled
    assert "Pod" not in scene.hidden
    cluster.failing.clear()
    await until_hidden(scene, "Deployment", hidden=False)
    await _end(task)


async def test_kind_whose_list_fails_for_a_moment_stays() -> None:
    cluster = Cluster({("apps/v1", "deployments")})
    cluster.failing["Deployment"] = ApiError(500, "InternalError", "")
    made, scene = watches(cluster, "Deployment")
    task = asyncio.create_task(made.run())
    await asyncio.sleep(0.3)
    cluster.failing.clear()
    await until(lambda: made.settled)
    assert scene.hidden == {}
    await _end(task)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
