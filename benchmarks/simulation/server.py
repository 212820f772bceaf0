"""The simulated API server: `python -m benchmarks.simulation.server DIRECTORY PORT`.

It speaks the part of the protocol that Troth uses: lists in pages, watches with bookmarks, the four
kinds of write, and the lease. It validates nothing, authorizes nobody, and stores nothing on disk,
so it costs much less than the real one.
"""

import asyncio
import json
import ssl
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from benchmarks.harness.claim import held_claim
from benchmarks.simulation.selectors import Filter
from benchmarks.simulation.store import Store, encoded, page
from sandbox.components import LOOPBACK
from troth.cluster.errors import ApiError
from troth.cluster.resources import AUDITED, RESOURCES
from troth.resources.metadata import API_VERSION
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest

BOOKMARK_SECONDS = 60.0
BODY_BYTES = 8 * 1024 * 1024
CERTIFICATE, KEY = "server.crt", "server.key"
APPLY, MERGE, JSON_PATCH = "apply-patch+yaml", "merge-patch+json", "json-patch+json"
CRDS = Path(__file__).parents[2] / "crds"
COMMAND = (sys.executable, "-m", "benchmarks.simulation.server")
"""Command that runs the server from the root of the checkout."""
KINDS = {each.name: kind for kind, each in {**AUDITED, **RESOURCES}.items()}
"""Kinds by the plurals in paths."""
DISCARDED = ("Event",)
DISCOVERY: Mapping[str, Manifest] = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
    "/apis": {"kind": "APIGroupList", "groups": []},
}
"""What kopf reads at a start."""


class Server:
    """Answers the requests of Troth and of the benchmark."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lists: dict[str, list[Manifest]] = {}
        """Rest of the lists in progress, by their tokens."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        if request.path in DISCOVERY:
            return _json(DISCOVERY[request.path])
        try:
            kind, ref, subresource = _parsed(request.path)
            if request.method == "GET" and not ref.name:
                if request.query.get("watch"):
                    return await self._watch(request, kind, ref.namespace)
                return self._list(request, kind, ref.namespace)
            body: Any = json.loads(await request.read() or b"{}")
            return _json(await self._one(request, kind, ref, subresource, body))
        except ApiError as error:
            return _json(_status(error), error.status)

    async def _one(
        self,
        request: web.Request,
        kind: str,
        ref: Ref,
        subresource: str,
        body: Any,  # noqa: ANN401 - JSON
    ) -> Manifest:
        match request.method:
            case "GET":
                return await self._store.get(kind, ref)
            case "POST" if kind in DISCARDED:
                return {"kind": kind}
            case "POST":
                return self._store.put({**body, "kind": kind})
            case "PUT":
                return await self._store.replace((kind, ref), {**body, "kind": kind})
            case "DELETE":
                return await self._store.delete(kind, ref, body["preconditions"]["uid"])
        return await self._patch(request.content_type, kind, ref, subresource, body)

    async def _patch(
        self,
        content_type: str,
        kind: str,
        ref: Ref,
        subresource: str,
        body: Any,  # noqa: ANN401 - JSON
    ) -> Manifest:
        if content_type.endswith(JSON_PATCH):
            return await self._store.json_patch(kind, ref, body)
        if content_type.endswith(MERGE):
            return await self._store.merge_patch(kind, ref, body, subresource)
        placed = {"name": ref.name} | ({"namespace": ref.namespace} if ref.namespace else {})
        manifest = {**body, "kind": kind, "metadata": {**body["metadata"], **placed}}
        if body.get("apiVersion") == API_VERSION or kind not in _OWNED:
            return self._store.put(manifest)  # as a user's
        return await self._store.apply(manifest)

    def _list(self, request: web.Request, kind: str, namespace: str) -> web.Response:
        token, limit = request.query.get("continue", ""), int(request.query.get("limit", 0))
        if token:
            version, place, _ = token.split(":")
            start, objects = int(place), self._lists.pop(token)
        else:
            version, start = str(self._store.version), 0
            objects = self._store.selected(_filter(request, kind, namespace))
        items = list(page(objects, start, limit))
        metadata = {"resourceVersion": version}
        end = start + len(items)
        if end < len(objects):
            following = f"{version}:{end}:{id(objects)}"
            self._lists[following] = objects
            metadata["continue"] = following
        if "PartialObjectMetadata" in request.headers.get("Accept", ""):
            items = [{"metadata": each["metadata"]} for each in items]
        else:  # items of a list have no kind
            items = [{key: each[key] for key in each if key != "kind"} for each in items]
        return _json({"kind": f"{kind}List", "metadata": metadata, "items": items})

    async def _watch(self, request: web.Request, kind: str, namespace: str) -> web.StreamResponse:
        selected = _filter(request, kind, namespace)
        events = self._store.watch(selected, int(request.query.get("resourceVersion", 0)))
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        try:
            while True:
                try:
                    event = await asyncio.wait_for(events.get(), BOOKMARK_SECONDS)
                except TimeoutError:
                    event = self._bookmark(kind)
                await answer.write(event)
        except ConnectionError:
            return answer
        finally:
            self._store.unwatch(events)

    def _bookmark(self, kind: str) -> bytes:
        metadata = {"resourceVersion": str(self._store.version)}
        bookmark = {"type": "BOOKMARK", "object": {"kind": kind, "metadata": metadata}}
        return encoded(bookmark) + b"\n"


_OWNED = ("Secret", "NetworkPolicy", "ConfigMap")


def _filter(request: web.Request, kind: str, namespace: str) -> Filter:
    query = request.query
    return Filter(kind, namespace, query.get("labelSelector", ""), query.get("fieldSelector", ""))


def _parsed(path: str) -> tuple[str, Ref, str]:
    """Return the kind, object and subresource of a path; without a name, all objects of a kind.

    Raises `ApiError` 404 for a path that Troth does not use.
    """
    parts = path.strip("/").split("/")
    rest = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if len(rest) > 2 and rest[0] == "namespaces":  # noqa: PLR2004 - otherwise a Namespace itself
        namespace, rest = rest[1], rest[2:]
    if not rest or rest[0] not in KINDS:
        raise ApiError(404, "NotFound", f"{path} is not simulated")
    plural, name, subresource = (*rest, "", "")[:3]
    return KINDS[plural], Ref(namespace, name), subresource


def _json(content: Manifest, status: int = 200) -> web.Response:
    return web.Response(body=encoded(content), status=status, content_type="application/json")


def _status(error: ApiError) -> Manifest:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": error.status,
        "reason": error.reason,
        "message": str(error),
    }


def application(store: Store) -> web.Application:
    """Return the server of a store, which has the CRDs of this checkout and Troth's claim."""
    for file in sorted(CRDS.glob("*.yaml")):
        store.put(yaml.safe_load(file.read_text()))
    store.put(held_claim())
    made = web.Application(client_max_size=BODY_BYTES)
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]] = Server(store).answer
    made.router.add_route("*", "/{path:.*}", handler)
    return made


def main() -> None:
    """Serve until the process is ended."""
    directory, port = Path(sys.argv[1]), int(sys.argv[2])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    web.run_app(application(Store()), host=LOOPBACK, port=port, ssl_context=context, print=None)


if __name__ == "__main__":
    main()
