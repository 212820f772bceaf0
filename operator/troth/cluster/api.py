"""The API server as Troth uses it: paged lists, watches, and few kinds of write, on raw dicts."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, Self

import aiohttp
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.dynamic import DynamicClient
from kubernetes.aio.dynamic.exceptions import DynamicApiError
from kubernetes.aio.dynamic.resource import Resource

from troth.cluster.decoder import decode, read_event, read_object, read_page
from troth.cluster.errors import ApiError, refused, told, told_by_watch
from troth.cluster.restraint import Fence, Spared
from troth.resources.kinds import KINDS
from troth.resources.metadata import API_VERSION
from troth.resources.references import Ref
from troth.world.facts.objects import FIELD_MANAGER, Manifest

REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=30)
PAGE = 500
"""How many objects a page of a list has, as client-go's reflector asks for."""

Verb = Literal["list", "watch", "get", "create", "apply", "patch", "update", "delete"]
Observer = Callable[[Verb, str, str], None]
"""Told of every request: verb, resource, and the answer's status code or the error's name."""


def _resource(api_version: str, kind: str, plural: str, *, namespaced: bool = True) -> Resource:
    group, _, version = api_version.rpartition("/")
    return Resource(
        prefix="apis" if group else "api",
        group=group,
        api_version=version,
        kind=kind,
        name=plural,
        namespaced=namespaced,
    )


RESOURCES: dict[str, Resource] = {
    resource.kind: resource
    for resource in (
        _resource("v1", "Namespace", "namespaces", namespaced=False),
        _resource("v1", "Secret", "secrets"),
        _resource("v1", "ConfigMap", "configmaps"),
        _resource("v1", "Service", "services"),
        _resource("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
        _resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
        _resource("apps/v1", "Deployment", "deployments"),
        _resource("apps/v1", "StatefulSet", "statefulsets"),
        _resource("apps/v1", "DaemonSet", "daemonsets"),
        _resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
        _resource("events.k8s.io/v1", "Event", "events"),
        _resource("coordination.k8s.io/v1", "Lease", "leases"),
        *(
            _resource(API_VERSION, kind.name, kind.plural, namespaced=kind.namespaced)
            for kind in KINDS
        ),
    )
}

QUESTIONS: dict[str, Resource] = {
    "TokenReview": _resource(
        "authentication.k8s.io/v1", "TokenReview", "tokenreviews", namespaced=False
    ),
}
"""What is asked by being created: the answer has it whole, and nothing is kept."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a kind are read: a namespace, or all; a label and a field selector.

    `known_as` is the kind under which those are forgotten that are not selected any more, empty for
    their own.
    """

    kind: str
    namespace: str = ""
    labels: str = ""
    fields: str = ""
    known_as: str = ""

    @property
    def watch_class(self) -> str:
        """The kind under which the world knows these objects."""
        return self.known_as or self.kind

    def covers(self, ref: Ref) -> bool:
        """Return whether an object of the watch class is selected, as far as its name tells.

        Of the fields only `metadata.namespace` and `metadata.name` are understood.
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
    """Troth knows the few kinds it speaks of; asking the server for all it has would cost reads."""

    def __init__(self, client: DynamicClient, cache_file: str | None) -> None:
        del client, cache_file

    def __await__(self) -> Any:  # noqa: ANN401 - the protocol of the library
        async def nothing() -> "_NoDiscovery":
            return self

        return nothing().__await__()


class _JSONClient(ApiClient):
    """What it is given is JSON already; looking for what is not costs a third of a write."""

    def sanitize_for_serialization(self, obj: Any) -> Any:  # noqa: ANN401 - the library's signature
        return obj


class ApiServer:
    """A connection to one API server. Use as an async context manager."""

    def __init__(self, config: Configuration, observer: Observer = lambda *_: None) -> None:
        self.fence = Fence()
        self._spared = Spared()
        config.trace_configs = [self.fence.tracing()]
        self._api: Any = _JSONClient(config)
        self._client = DynamicClient(self._api, discoverer=_NoDiscovery)
        self._observe = observer

    async def __aenter__(self) -> Self:
        await self._client
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._api.close()

    # Reading

    async def pages(
        self, selection: Selection, *, metadata_only: bool = False
    ) -> AsyncIterator[Manifest]:
        """Yield the pages of a consistent list; each has `items` and `metadata`.

        With `metadata_only` the items have nothing but theirs.
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

        `silence` is how many seconds may pass without a byte before the stream counts as dead;
        the server sends a bookmark about once a minute. Raises `ApiError`, also for an ERROR
        event, whose code it carries.
        """
        # without a timeout of its own the server ends a watch after 30 to 60 minutes
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
                    raise told_by_watch(event.get("object"))
                yield event
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise ApiError(0, type(error).__name__, "the watch was interrupted") from None
        finally:
            response.close()

    async def get(self, kind: str, ref: Ref) -> Manifest:
        """Return one object."""
        return await self._json("get", "get", kind, ref)

    async def metadata(self, kind: str, ref: Ref) -> Manifest:
        """Return one object's metadata alone: of a Secret that is not Troth's, nothing else."""
        return await self._json("get", "get", kind, ref, header_params=dict(_METADATA_ONLY))

    # Writing

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object that is not applied to later, and return it.

        Raises `ApiError` 409 where one of the name exists.
        """
        place = Ref(manifest["metadata"].get("namespace", ""), "")
        return await self._json(
            "create", "post", manifest["kind"], place, body=manifest, field_manager=FIELD_MANAGER
        )

    async def apply_new(self, manifest: Manifest) -> Manifest:
        """Apply an object that must not exist yet, and return it; raises `ApiError` 409 if it does.

        Server-side apply has no such precondition of its own. But it compares a given
        resourceVersion with that of an object that is there, and no object has version 1.
        """
        metadata = {**manifest["metadata"], "resourceVersion": "1"}
        return await self.apply({**manifest, "metadata": metadata})

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply an object server-side as field manager `troth` and return it.

        Put `metadata.uid` in it to apply to that very object and no successor.
        """
        return await self._json(
            "apply",
            "patch",
            manifest["kind"],
            Ref.of(manifest),
            body=manifest,
            content_type="application/apply-patch+yaml",
            field_manager=FIELD_MANAGER,
            force_conflicts=True,
        )

    async def merge_patch(
        self, kind: str, ref: Ref, patch: Manifest, subresource: str = ""
    ) -> Manifest:
        """Merge a patch (RFC 7386) into an object or its subresource; return the object."""
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
        """Carry out JSON patch operations (RFC 6902) on an object, all or none, and return it.

        Raises `ApiError` 422 where a `test` operation does not hold.
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
        """Replace an object; its `resourceVersion` guards against somebody else's write."""
        return await self._json(
            "update",
            "put",
            manifest["kind"],
            Ref.of(manifest),
            body=manifest,
            field_manager=FIELD_MANAGER,
        )

    async def delete(self, kind: str, ref: Ref, uid: str) -> Manifest:
        """Delete that very object and return the API server's answer."""
        body = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        }
        return await self._json("delete", "delete", kind, ref, body=body)

    # The wire

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
        resource = RESOURCES.get(kind) or QUESTIONS[kind]
        path = resource.path(name=ref.name or None, namespace=ref.namespace or None)
        path += f"/{subresource}" if subresource else ""
        if known := self._spared.refusal(resource.name):
            raise ApiError(*known)
        outcome = "unknown"
        try:
            response: aiohttp.ClientResponse = await self._client.request(
                method, path, serialize=False, **options
            )
            outcome = str(response.status)
        except DynamicApiError as error:
            outcome = str(error.status)
            refusal = refused(error)
            said = (refusal.status, refusal.reason, refusal.message)
            self._spared.heed(resource.name, error.headers, said)
            raise refusal from None  # of an error whose text is the whole answer
        except ApiException as error:
            outcome = str(error.status)
            raise told(int(error.status or 0), {}) from None
        except UnicodeDecodeError as error:  # of an error's text
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
    """Return a page of a list, `items` in it; raises `ApiError` for what is none."""
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
