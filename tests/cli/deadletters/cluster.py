"""An API server for `troth deadletters` whose pods have a worker on loopback."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import WSMsgType, web
from structlog.testing import capture_logs

from tests.builders import Manifest
from tests.cli.running import Ended, troth
from tests.edge.mounts import bundle_map
from tests.review.api.desk import Served, served
from tests.review.api.serving import REVIEWER, running
from troth.cluster.connection.port_forward import DATA, ERROR, PROTOCOL
from troth.review.letters.letter import Letter

PORT = 9443
RELEASE = "troth-system"
"""Namespace of the worker."""


def topic_policy(name: str = "orders", **dead_letter: Any) -> Manifest:
    reviewer = {"name": "reviewer", "namespace": RELEASE}
    topic = {"topic": "prod.orders.v1.dlq", "reviewer": reviewer} | dead_letter
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "TopicPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"deadLetter": topic},
    }


def identity(namespace: str = RELEASE) -> Manifest:
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "ServiceIdentity",
        "metadata": {"name": "reviewer", "namespace": namespace},
        "status": {"spiffeID": REVIEWER},
    }


def pod(
    name: str = "troth-review-1", namespace: str = RELEASE, *, ready: bool = True, **spec: Any
) -> Manifest:
    container = {"name": "review", "ports": [{"name": "https", "containerPort": PORT}]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/component": "review"},
        },
        "spec": {"serviceAccountName": "troth-review", "containers": [container]} | spec,
        "status": {"conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def bundle(namespace: str = RELEASE) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "trust-bundle", "namespace": namespace},
        "data": {"bundle-map.json": json.dumps(bundle_map())},
    }


@dataclass
class Kubernetes:
    """Objects of the API server, by the plural of their kind, and what it was asked."""

    objects: dict[str, list[Manifest]]
    worker_port: int = 0
    user: str = "alice"
    forwarded: list[str] = field(default_factory=list)
    created: list[Manifest] = field(default_factory=list)
    patches: list[Manifest] = field(default_factory=list)
    authorizations: set[str] = field(default_factory=set)
    refusal: tuple[int, str] | None = None
    """Status and message of the answer to each write."""
    forward_refusal: int = 0
    forward_error: str = ""
    conflicts: int = 0
    """Number of patches that another write overtakes."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.authorizations.add(request.headers.get("Authorization", ""))
        steps = request.path.strip("/").split("/")
        steps = steps[2:] if steps[0] == "api" else steps[3:]
        namespace = steps[1] if steps[0] == "namespaces" else ""
        plural, *rest = steps[2:] if namespace else steps
        if rest[1:] == ["portforward"]:
            return await self._forward(request, rest[0])
        if request.method == "POST":
            return self._create(await request.json())
        if request.method == "PATCH":
            return self._patch(plural, rest[0], await request.json())
        found = [
            each
            for each in self.objects.get(plural, [])
            if each["metadata"].get("namespace", "") in (namespace, "")
        ]
        if rest:
            found = [each for each in found if each["metadata"]["name"] == rest[0]]
            return web.json_response(found[0]) if found else _status(404, f"{plural} not found")
        return web.json_response({"metadata": {"resourceVersion": "1"}, "items": found})

    def _create(self, manifest: Manifest) -> web.Response:
        if manifest["kind"] == "SelfSubjectReview":
            status = {"userInfo": {"username": self.user}}
            return web.json_response(manifest | {"status": status})
        if self.refusal is not None:
            return _status(*self.refusal)
        self.created.append(manifest)
        return web.json_response(manifest)

    def _patch(self, plural: str, name: str, patch: Manifest) -> web.Response:
        if self.refusal is not None:
            return _status(*self.refusal)
        (found,) = (each for each in self.objects[plural] if each["metadata"]["name"] == name)
        if self.conflicts:
            self.conflicts -= 1
            return _status(409, "the object has been modified")
        self.patches.append(patch)
        return web.json_response(found)

    async def _forward(self, request: web.Request, name: str) -> web.StreamResponse:
        """Forward a connection to the worker, as the kubelet does."""
        self.forwarded.append(f"{name}:{request.query['ports']}")
        if self.forward_refusal:
            return _status(self.forward_refusal, "no")
        socket = web.WebSocketResponse(protocols=(PROTOCOL,))
        await socket.prepare(request)
        for channel in (DATA, ERROR):
            await socket.send_bytes(bytes([channel]) + PORT.to_bytes(2, "little"))
        if self.forward_error:
            await socket.send_bytes(bytes([ERROR]) + self.forward_error.encode())
            await socket.close()
            return socket
        reader, writer = await asyncio.open_connection("127.0.0.1", self.worker_port)

        async def back() -> None:
            while data := await reader.read(4096):
                await socket.send_bytes(bytes([DATA]) + data)
            await socket.close()

        backward = asyncio.create_task(back())
        async for message in socket:
            if message.type is WSMsgType.BINARY:
                writer.write(message.data[1:])
        writer.close()
        backward.cancel()
        with suppress(asyncio.CancelledError, ConnectionError):
            await backward
        return socket


def _status(code: int, message: str) -> web.Response:
    reason = {404: "NotFound", 403: "Forbidden", 409: "Conflict", 422: "Invalid"}.get(code, "")
    body = {"kind": "Status", "code": code, "reason": reason, "message": message}
    return web.json_response(body, status=code)


@dataclass
class Setting:
    """A cluster with a worker, and the files of a user."""

    directory: Path
    kubernetes: Kubernetes
    api: Served
    worker_url: str
    kubeconfig: Path

    async def troth(self, *arguments: str, given: bytes = b"") -> Ended:
        """Run `troth deadletters`; the servers answer meanwhile."""
        command = ("deadletters", *arguments, "--kubeconfig", str(self.kubeconfig))
        return await asyncio.to_thread(troth, *command, given=given)

    async def directly(self, *arguments: str) -> Ended:
        """Run it without the port-forward."""
        return await self.troth(*arguments, "--server", self.worker_url)


def kubeconfig(directory: Path, server: str, user: Manifest) -> Path:
    config = {
        "current-context": "here",
        "contexts": [
            {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}
        ],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "users": [{"name": "u", "user": user}],
    }
    path = directory / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    return path


@asynccontextmanager
async def setting(directory: Path, *letters: Letter, **options: Any) -> AsyncIterator[Setting]:
    """Run a worker with letters and an API server whose user is alice."""
    with capture_logs():  # the worker's, which would be on the standard output of the command
        async with _setting(directory, served(*letters), **options) as made:
            yield made


@asynccontextmanager
async def _setting(directory: Path, api: Served, **options: Any) -> AsyncIterator[Setting]:
    kubernetes = Kubernetes(
        {
            "topicpolicies": [topic_policy()],
            "serviceidentities": [identity()],
            "pods": [pod()],
            "configmaps": [bundle(), bundle("shop")],
            "deadletterreviews": [],
        }
    )
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", kubernetes.answer)
    runner = web.AppRunner(application, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    try:
        async with running(api.application, directory / "worker", **options) as worker:
            kubernetes.worker_port = worker.port
            user = {"token": "token-of-alice"}
            path = kubeconfig(directory, f"http://{host}:{port}", user)
            yield Setting(directory, kubernetes, api, worker.url, path)
    finally:
        await runner.cleanup()
