"""API client on raw dicts: paged lists, watches, and the few kinds of write that Troth needs."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Literal, Self

import aiohttp

from troth.cluster.connection.client import Connection, pool_of
from troth.cluster.connection.library import Configuration
from troth.cluster.connection.restraint import ThrottledResources, WriteFence
from troth.cluster.errors import ApiError, error_from, error_from_event
from troth.cluster.resources import resource_of
from troth.cluster.selection import Selection
from troth.cluster.server_clock import ServerClock
from troth.cluster.watching.decoder import (
    checked_page,
    decode,
    lines,
    read_event,
    read_object,
    read_page,
)
from troth.resources.references import Ref
from troth.world.facts.objects import FIELD_MANAGER, Manifest

REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30)
PAGE = 500
"""Number of objects in a page of a list, as in client-go's reflector."""
SUCCESS = range(200, 300)
FAILURE = 500
"""Least status code with which a server says that it failed."""
NOTHING: Mapping[str, str | int | None] = {}
_JSON = "application/json"

Verb = Literal["list", "watch", "get", "create", "apply", "patch", "update", "delete"]
Observer = Callable[[Verb, str, str], None]
"""Called for every request with verb, resource, and `ApiError.code` or the name of the error."""


class ApiServer:
    """Connection to one API server. Use it as an async context manager."""

    def __init__(
        self,
        config: Configuration,
        observer: Observer = lambda *_: None,
        clock: ServerClock | None = None,
        *,
        field_manager: str = FIELD_MANAGER,
        page: int = PAGE,
    ) -> None:
        """`page` is the number of objects in a page of a list."""
        self._field_manager = field_manager
        self._page = page
        self.fence = WriteFence()
        self.clock = clock or ServerClock()
        self.answered_at = 0.0
        """Time of the last answer on the event loop's clock, also of one that rejects a request.

        A failure (5xx) is none: a load balancer answers so for an API server that is down.
        """
        self._throttled = ThrottledResources()
        config.trace_configs = [self.fence.tracing()]
        self._connection = Connection(config)
        self._observe = observer

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._connection.close()

    # Reads

    async def pages(
        self, selection: Selection, *, metadata_only: bool = False
    ) -> AsyncIterator[Manifest]:
        """Yield the pages of a consistent list, each with `items` and `metadata`.

        With `metadata_only` the items have only their metadata.
        """
        accept = _METADATA_OF_EACH if metadata_only or selection.metadata_only else _JSON
        token: str | None = None
        while True:
            page = await self._json(
                "list",
                "get",
                selection.kind,
                Ref(selection.namespace, ""),
                query={**selection.query, "limit": self._page, "continue": token},
                accept=accept,
                apart=read_page,
            )
            token = checked_page(page)["metadata"].get("continue")
            yield page
            if not token:
                return

    async def watch(
        self,
        selection: Selection,
        resource_version: str,
        silence: float,
        on_open: Callable[[], None] = lambda: None,
    ) -> AsyncIterator[Manifest]:
        """Yield watch events after a resource version until the server ends the stream.

        `silence` is the time in seconds without a byte after which the stream counts as dead; the
        server sends a bookmark about once a minute. `on_open` is called once the server has
        accepted the watch. Raises `ApiError`, also for an ERROR event, whose code it has.
        """
        # the server's own default ends a watch after 30 to 60 minutes
        response = await self._request(
            "watch",
            "get",
            selection.kind,
            Ref(selection.namespace, ""),
            query={
                **selection.query,
                "watch": "true",
                "resourceVersion": resource_version,
                "allowWatchBookmarks": "true",
            },
            accept=_METADATA_ONLY if selection.metadata_only else _JSON,
            timeout=aiohttp.ClientTimeout(total=None, connect=30, sock_read=silence),
        )
        on_open()
        try:
            async for line in lines(response.content.iter_any()):
                event = await decode(line, read_event)
                if event.get("type") == "ERROR":
                    raise error_from_event(event.get("object"))
                yield event
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiError(0, type(error).__name__, "the watch was interrupted") from None
        finally:
            response.close()

    async def get(self, kind: str, ref: Ref) -> Manifest:
        """Return one object."""
        return await self._json("get", "get", kind, ref)

    async def document(self, name: str, path: str, accept: str) -> Manifest:
        """Return what a path of the API server has that is no object; `name` is for metrics."""
        return await self._answered(
            self._send("get", "get", name, path, accept=accept), read_object
        )

    async def log(self, pod: Ref, *, most_bytes: int, last_lines: int | None = None) -> bytes:
        """Return the log of a pod's only container, or its last lines; raises `ApiError`.

        The API server cuts it after `most_bytes`.
        """
        response = await self._request(
            "get",
            "get",
            "Pod",
            pod,
            "log",
            query={"limitBytes": most_bytes, "tailLines": last_lines},
            accept="*/*",
        )
        try:
            return bytes(await response.read())
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ApiError(0, type(error).__name__, "the answer was interrupted") from None

    async def metadata(self, kind: str, ref: Ref) -> Manifest:
        """Return only an object's metadata, because a foreign Secret's data must not be read."""
        return await self._json("get", "get", kind, ref, accept=_METADATA_ONLY)

    # Writes

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object that is never applied, and return it.

        Raises `ApiError` 409 if an object of the name exists.
        """
        place = Ref(manifest["metadata"].get("namespace", ""), "")
        return await self._json(
            "create",
            "post",
            manifest["kind"],
            place,
            body=manifest,
            query={"fieldManager": self._field_manager},
        )

    async def apply_new(self, manifest: Manifest) -> Manifest:
        """Apply an object that must not exist yet, and return it; raises `ApiError` 409 if it does.

        Server-side apply has no such precondition. But it compares a given resourceVersion with
        that of an existing object, and no object has version 1.
        """
        metadata = {**manifest["metadata"], "resourceVersion": "1"}
        return await self.apply({**manifest, "metadata": metadata})

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply an object server-side as this process's field manager, and return it.

        With `metadata.uid` it is applied only to that object and not to a successor of the same
        name.
        """
        return await self._apply(manifest, force="true")

    async def apply_status(self, manifest: Manifest, manager: str = "") -> Manifest:
        """Apply the members of an object's status that a field manager owns; return the object.

        `manager` defaults to the client's own.

        Members that it owned and that the manifest lacks are removed. Raises `ApiError` 404 if the
        object does not exist, and 409 if it has another UID than `metadata.uid`.
        """
        manager = manager or self._field_manager
        return await self._apply(manifest, "status", force="true", fieldManager=manager)

    async def _apply(self, manifest: Manifest, subresource: str = "", **query: str) -> Manifest:
        return await self._json(
            "apply",
            "patch",
            manifest["kind"],
            Ref.of(manifest),
            subresource,
            body=manifest,
            content_type="application/apply-patch+yaml",
            query={**_PARSED_ONCE, "fieldManager": self._field_manager, **query},
        )

    async def merge_patch(
        self, kind: str, ref: Ref, patch: Manifest, subresource: str = ""
    ) -> Manifest:
        """Apply a merge patch (RFC 7386) to an object or its subresource, and return the object."""
        return await self._patch(kind, ref, "merge", patch, subresource)

    async def json_patch(self, kind: str, ref: Ref, operations: list[Manifest]) -> Manifest:
        """Apply JSON patch operations (RFC 6902) to an object, all or none, and return it.

        Raises `ApiError` 422 if a `test` operation fails.
        """
        return await self._patch(kind, ref, "json", operations)

    async def _patch(
        self,
        kind: str,
        ref: Ref,
        form: str,
        patch: Manifest | list[Manifest],
        subresource: str = "",
    ) -> Manifest:
        return await self._json(
            "patch",
            "patch",
            kind,
            ref,
            subresource,
            body=patch,
            content_type=f"application/{form}-patch+json",
            query={**_PARSED_ONCE, "fieldManager": self._field_manager},
        )

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object; its `resourceVersion` prevents overwriting another write."""
        return await self._json(
            "update",
            "put",
            manifest["kind"],
            Ref.of(manifest),
            body=manifest,
            query={"fieldManager": self._field_manager},
        )

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        """Delete the object with this UID and return the answer of the API server."""
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        return await self._json("delete", "delete", kind, ref, body=body)

    # Requests

    async def _json(
        self,
        verb: Verb,
        method: str,
        kind: str,
        ref: Ref,
        subresource: str = "",
        *,
        apart: Callable[[bytes], Manifest] = read_object,
        **options: Any,  # noqa: ANN401 - those of `_send`
    ) -> Manifest:
        request = self._request(verb, method, kind, ref, subresource, **options)
        return await self._answered(request, apart)

    @staticmethod
    async def _answered(
        request: Awaitable[aiohttp.ClientResponse], apart: Callable[[bytes], Manifest]
    ) -> Manifest:
        response = await request
        try:
            answer = await decode(await response.read(), apart)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiError(0, type(error).__name__, "the answer was interrupted") from None
        return answer

    async def _request(
        self,
        verb: Verb,
        method: str,
        kind: str,
        ref: Ref,
        subresource: str = "",
        **options: Any,  # noqa: ANN401 - those of `_send`
    ) -> aiohttp.ClientResponse:
        resource = resource_of(kind)
        path = resource.path(name=ref.name or None, namespace=ref.namespace or None)
        path += f"/{subresource}" if subresource else ""
        return await self._send(verb, method, resource.name, path, **options)

    async def _send(
        self,
        verb: Verb,
        method: str,
        resource: str,
        path: str,
        *,
        query: Mapping[str, str | int | None] = NOTHING,
        body: Manifest | list[Manifest] | None = None,
        content_type: str = _JSON,
        accept: str = _JSON,
        timeout: aiohttp.ClientTimeout = REQUEST_TIMEOUT,  # noqa: ASYNC109 - aiohttp's
    ) -> aiohttp.ClientResponse:
        pool = pool_of(verb, resource)
        headers = {"Accept": accept, "Content-Type": content_type, **self.clock.headers(pool)}
        self._throttled.check(resource)
        outcome, sent_at = "unknown", self.clock.now()
        try:
            response = await self._connection.send(
                method, path, query=query, headers=headers, body=body, timeout=timeout, pool=pool
            )
            outcome = str(response.status)
            if response.status < FAILURE:
                self.answered_at = asyncio.get_running_loop().time()
            if self.clock.counts(pool):
                self.clock.compare(response.headers.get("Date", ""), sent_at, self.clock.now())
            if response.status not in SUCCESS:
                refusal = error_from(response.status, await response.read())
                outcome = refusal.code
                self._throttled.heed(resource, response.headers, refusal)
                raise refusal
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome = type(error).__name__
            raise ApiError(0, outcome, "the API server cannot be reached") from None
        finally:
            self._observe(verb, resource, outcome)
        return response


# Otherwise the API server parses a patch twice, to warn of fields that it drops. The answer shows
# that too, and `ServerMutations` reports it.
_PARSED_ONCE = {"fieldValidation": "Ignore"}
_METADATA_ONLY = f"{_JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
_METADATA_OF_EACH = f"{_JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
