"""API client on raw dicts: paged lists, watches, and the few kinds of write that Troth needs."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Self

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import DynamicApiError

from troth.cluster.decoder import decode, read_event, read_object, read_page
from troth.cluster.errors import ApiError, error_from, error_from_event, error_from_status
from troth.cluster.resources import RESOURCES, REVIEWS
from troth.cluster.restraint import ThrottledResources, WriteFence
from troth.cluster.server_clock import ServerClock
from troth.resources.references import Ref
from troth.world.facts.objects import FIELD_MANAGER, Manifest

REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30)
PAGE = 500
"""Number of objects in a page of a list, as in client-go's reflector."""

Verb = Literal["list", "watch", "get", "create", "apply", "patch", "update", "delete"]
Observer = Callable[[Verb, str, str], None]
"""Called for every request with verb, resource, and `ApiError.code` or the name of the error."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Selection of objects of a kind, by namespace, label selector and field selector.

    `subset` is the watch class of the objects if they are cached apart from the kind's others.
    """

    kind: str
    namespace: str = ""
    labels: str = ""
    fields: str = ""
    subset: str = ""

    @property
    def watch_class(self) -> str:
        """Watch class of the objects: their kind, or the name of a subset that is cached apart."""
        return self.subset or self.kind

    def covers(self, ref: Ref) -> bool:
        """Return whether the selection covers an object of the watch class, judged by its name.

        Of the field selector only `metadata.namespace` and `metadata.name` are supported.
        """
        if self.namespace not in ("", ref.namespace):
            return False
        found = {"metadata.namespace": ref.namespace, "metadata.name": ref.name}
        return all(
            (found[field] != value) is differs for field, value, differs in _required(self.fields)
        )


@lru_cache
def _required(fields: str) -> tuple[tuple[str, str, bool], ...]:
    """Return the requirements of a field selector: field, value, and whether it must differ."""
    parts = (each.partition("!=") for each in filter(None, fields.split(",")))
    return tuple(
        (field, value, True) if operator else (field.split("=")[0], field.split("=")[1], False)
        for field, operator, value in parts
    )


class _NoDiscovery:
    """Discovery without requests: Troth needs only the few kinds that are listed here."""

    def __init__(self, client: DynamicClient, cache_file: str | None) -> None:
        del client, cache_file

    def __await__(self) -> Any:  # noqa: ANN401 - the protocol of the library
        async def nothing() -> "_NoDiscovery":
            return self

        return nothing().__await__()


class _JSONClient(ApiClient):
    """Client that does not sanitize bodies, which are JSON already: it takes a third of a write."""

    def sanitize_for_serialization(self, obj: Any) -> Any:  # noqa: ANN401 - the library's signature
        return obj


class ApiServer:
    """Connection to one API server. Use it as an async context manager."""

    def __init__(
        self,
        config: Configuration,
        observer: Observer = lambda *_: None,
        clock: ServerClock | None = None,
    ) -> None:
        self.fence = WriteFence()
        self.clock = clock or ServerClock()
        self._throttled = ThrottledResources()
        config.trace_configs = [self.fence.tracing(), self.clock.tracing()]
        self._api: Any = _JSONClient(config)
        self._client = DynamicClient(self._api, discoverer=_NoDiscovery)
        self._observe = observer

    async def __aenter__(self) -> Self:
        await self._client
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    # Reads

    async def pages(
        self, selection: Selection, *, metadata_only: bool = False
    ) -> AsyncIterator[Manifest]:
        """Yield the pages of a consistent list, each with `items` and `metadata`.

        With `metadata_only` the items have only their metadata.
        """
        accept = _METADATA_OF_EACH if metadata_only else _ACCEPT
        token: str | None = None
        while True:
            page = await self._json(
                "list",
                "get",
                selection.kind,
                Ref(selection.namespace, ""),
                limit=PAGE,
                _continue=token,
                label_selector=selection.labels or None,
                field_selector=selection.fields or None,
                header_params=dict(accept),
                apart=read_page,
            )
            token = _checked(page)["metadata"].get("continue")
            yield page
            if not token:
                return

    async def watch(
        self, selection: Selection, resource_version: str, silence: float
    ) -> AsyncIterator[Manifest]:
        """Yield watch events after a resource version until the server ends the stream.

        `silence` is the time in seconds without a byte after which the stream counts as dead; the
        server sends a bookmark about once a minute. Raises `ApiError`, also for an ERROR event,
        whose code it has.
        """
        # the server's own default ends a watch after 30 to 60 minutes
        response = await self._request(
            "watch",
            "get",
            selection.kind,
            Ref(selection.namespace, ""),
            watch=True,
            resource_version=resource_version,
            label_selector=selection.labels or None,
            field_selector=selection.fields or None,
            query_params=[("allowWatchBookmarks", "true")],
            _request_timeout=aiohttp.ClientTimeout(total=None, connect=30, sock_read=silence),
        )
        try:
            async for line in _lines(response):
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

    async def metadata(self, kind: str, ref: Ref) -> Manifest:
        """Return only an object's metadata, because a foreign Secret's data must not be read."""
        return await self._json("get", "get", kind, ref, header_params=dict(_METADATA_ONLY))

    # Writes

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object that is never applied, and return it.

        Raises `ApiError` 409 if an object of the name exists.
        """
        place = Ref(manifest["metadata"].get("namespace", ""), "")
        return await self._json(
            "create", "post", manifest["kind"], place, body=manifest, field_manager=FIELD_MANAGER
        )

    async def apply_new(self, manifest: Manifest) -> Manifest:
        """Apply an object that must not exist yet, and return it; raises `ApiError` 409 if it does.

        Server-side apply has no such precondition. But it compares a given resourceVersion with
        that of an existing object, and no object has version 1.
        """
        metadata = {**manifest["metadata"], "resourceVersion": "1"}
        return await self.apply({**manifest, "metadata": metadata})

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply an object server-side as field manager `troth`, and return it.

        With `metadata.uid` it is applied only to that object and not to a successor of the same
        name.
        """
        return await self._apply(manifest, force_conflicts=True)

    async def _apply(self, manifest: Manifest, **options: Any) -> Manifest:  # noqa: ANN401
        return await self._json(
            "apply",
            "patch",
            manifest["kind"],
            Ref.of(manifest),
            body=manifest,
            content_type="application/apply-patch+yaml",
            field_manager=FIELD_MANAGER,
            **options,
        )

    async def merge_patch(
        self, kind: str, ref: Ref, patch: Manifest, subresource: str = ""
    ) -> Manifest:
        """Apply a merge patch (RFC 7386) to an object or its subresource, and return the object."""
        return await self._json(
            "patch",
            "patch",
            kind,
            ref,
            subresource=subresource,
            body=patch,
            content_type="application/merge-patch+json",
            field_manager=FIELD_MANAGER,
        )

    async def json_patch(self, kind: str, ref: Ref, operations: list[Manifest]) -> Manifest:
        """Apply JSON patch operations (RFC 6902) to an object, all or none, and return it.

        Raises `ApiError` 422 if a `test` operation fails.
        """
        return await self._json(
            "patch",
            "patch",
            kind,
            ref,
            body=operations,
            content_type="application/json-patch+json",
            field_manager=FIELD_MANAGER,
        )

    async def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object; its `resourceVersion` prevents overwriting another write."""
        return await self._json(
            "update",
            "put",
            manifest["kind"],
            Ref.of(manifest),
            body=manifest,
            field_manager=FIELD_MANAGER,
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
        *,
        apart: Callable[[bytes], Manifest] = read_object,
        **options: Any,  # noqa: ANN401
    ) -> Manifest:
        options.setdefault("_request_timeout", REQUEST_TIMEOUT)
        response = await self._request(verb, method, kind, ref, **options)
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
        **options: Any,  # noqa: ANN401 - the library's own options
    ) -> aiohttp.ClientResponse:
        options.setdefault("header_params", dict(_ACCEPT))
        resource = RESOURCES.get(kind) or REVIEWS[kind]
        path = resource.path(name=ref.name or None, namespace=ref.namespace or None)
        path += f"/{subresource}" if subresource else ""
        if known := self._throttled.refusal(resource.name):
            raise ApiError(*known)
        outcome = "unknown"
        try:
            response: aiohttp.ClientResponse = await self._client.request(
                method, path, serialize=False, **options
            )
            outcome = str(response.status)
        except DynamicApiError as error:
            refusal = error_from(error)
            outcome = refusal.code
            said = (refusal.status, refusal.reason, refusal.message)
            self._throttled.heed(resource.name, error.headers, said)
            raise refusal from None  # the original error quotes the whole answer
        except ApiException as error:
            outcome = str(error.status)
            raise error_from_status(int(error.status or 0), {}) from None
        except UnicodeDecodeError as error:  # in the text of an error
            outcome = type(error).__name__
            raise ApiError(0, outcome, "the answer is not text") from None
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome = type(error).__name__
            raise ApiError(0, outcome, "the API server cannot be reached") from None
        finally:
            self._observe(verb, resource.name, outcome)
        return response


_ACCEPT = {"Accept": "application/json"}
_METADATA_ONLY = {"Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"}
_METADATA_OF_EACH = {"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"}


def _checked(page: Manifest) -> Manifest:
    """Return a page of a list that has `items`; raises `ApiError` otherwise."""
    metadata, items = page.get("metadata"), page.get("items") or []
    if not isinstance(metadata, dict) or not isinstance(items, list):
        raise ApiError(0, "MalformedList", "the answer is not a list of objects")
    page["items"] = items
    return page


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, of any length."""
    pending = bytearray()
    async for chunk in response.content.iter_any():
        pending += chunk
        *whole, rest = pending.split(b"\n")
        for line in whole:
            if line:
                yield bytes(line)
        pending = bytearray(rest)
