"""The Secrets that the operator compiles for this gateway, followed: what they say, or last said.

Each endpoint is by itself. One that cannot be read is told of once for each version, and changes
nothing: what was served of it before is served still, and all others are. Where its Secret is
deleted it ends at once. The API server may be away, and the operator too: what was read last holds.

A key that was withdrawn must not live on for as long as a dead watch goes unnoticed, so the
versions are asked for beside it.
"""

import base64
import binascii
from collections.abc import Callable, Collection, Container, Mapping
from functools import partial

import structlog

from troth.cluster.api import ApiServer, Selection
from troth.cluster.errors import ApiError
from troth.cluster.informer import Backoff, Informer
from troth.cluster.poll import poll
from troth.documents.webhook_endpoint import DOCUMENT, KEY_PREFIX, EndpointError
from troth.pki.webhook_tokens import Signer
from troth.resources.references import Ref
from troth.webhooks.gateway.forwarding.signing import ACTIVE, SigningKey
from troth.webhooks.gateway.routes import MOST_KEYS, Routes, Served, served
from troth.webhooks.schemes.scheme import LONGEST_KEY
from troth.world.facts.objects import MANAGED_BY, UNREADABLE, Manifest
from troth.world.origin import origin

GATEWAY_LABEL = "troth.dev/webhook-gateway"
"""On each Secret that a gateway follows, and on what it reports: the gateway's name."""
LONGEST_PAUSE = 2.0
"""Seconds between attempts to reach the API server: a revocation must not wait for a backoff."""
CHECK_EVERY = 5.0
"""Seconds after which the versions of the Secrets are asked for, whatever the watch tells."""
_NOT_FOUND = 404
_LONGEST_KEY_TEXT = 4 * (LONGEST_KEY // 3 + 1)
"""Maximum length of a key in base64."""

log = structlog.get_logger()


class Following:
    """Keeps the routes and the signing key in step with the Secrets; a sink of an informer."""

    def __init__(
        self,
        namespace: str,
        gateway: str,
        routes: Routes,
        on_gone: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_gone` is told each endpoint (`<namespace>/<name>`) that is no more."""
        self.unreadable: set[str] = set()
        """The names of the Secrets whose newest version cannot be read."""
        self._routes = routes
        self._on_gone = on_gone
        self._key = SigningKey()
        self._key_ref = Ref(namespace, f"{gateway}-webhook-signing")
        # what the operator does not see it cannot take back, so that nobody is served by it
        labels = f"{GATEWAY_LABEL}={gateway},{MANAGED_BY}=troth"
        self._selection = Selection("Secret", namespace, labels=labels)
        self._seen: dict[Ref, str] = {}
        self._informer: Informer | None = None

    @property
    def synced(self) -> bool:
        """Whether the Secrets were listed once."""
        return self._informer is not None and self._informer.synced.is_set()

    @property
    def ready(self) -> bool:
        """Whether the endpoints are known, and there is a key to sign with."""
        return self.synced and self._key.is_there

    def signer(self, gateway_id: Callable[[], str]) -> Signer | None:
        """Return what signs as the gateway of this SPIFFE ID; None where there is no key."""
        return self._key.signer(gateway_id)

    def informer(self, server: ApiServer) -> Informer:
        """Return what keeps this in step: one list and one watch."""
        backoff = Backoff(most=LONGEST_PAUSE)
        self._informer = Informer(server, self._selection, self, _failed, backoff)
        return self._informer

    # Beside the watch

    async def check(self, server: ApiServer) -> None:
        """Ask for the versions until cancelled, and for all of a Secret where it is new."""
        await poll(lambda: self._check(server), CHECK_EVERY, partial(_failed, self._selection))

    async def _check(self, server: ApiServer) -> None:
        before, found = dict(self._seen), dict[Ref, str]()
        async for page in server.pages(self._selection, metadata_only=True):
            found |= {Ref.of(each): _version(each) for each in page["items"]}
        for ref, version in before.items():
            if ref not in found and self._seen.get(ref) == version:
                self.forget("Secret", ref, 0)
        for ref, version in found.items():
            if version != self._seen.get(ref) == before.get(ref):
                await self._read(server, ref)

    async def _read(self, server: ApiServer, ref: Ref) -> None:
        seen = self._seen.get(ref)
        try:
            found = await server.get("Secret", ref)
        except ApiError as error:
            if error.status != _NOT_FOUND:  # it has gone since; the next look sees that
                raise
        else:
            if self._seen.get(ref) == seen:  # else the watch was faster, and this may be older
                self.observe(found)

    # What the API server tells

    def observe(self, manifest: Manifest) -> None:
        """Take in a Secret as it is now."""
        ref, version = Ref.of(manifest), _version(manifest)
        if version == self._seen.get(ref):
            return
        self._seen[ref] = version
        try:
            if ref == self._key_ref:
                self._key.take(_data(manifest, frozenset({ACTIVE})))
                log.info("signing key read", version=version, kid=self._key.kid)
            else:
                data = _data(manifest, _of_endpoint(manifest))
                self._routes.put(ref.name, _named(ref.name, served(data)))
                log.info("endpoint read", secret=ref.name, version=version)
        except EndpointError as error:
            self.unreadable.add(ref.name)
            log.warning("Secret unreadable", secret=ref.name, version=version, why=str(error))
        except Exception as error:  # noqa: BLE001 - no Secret ends the gateway
            self.unreadable.add(ref.name)
            log.error("Secret unreadable", secret=ref.name, version=version, why=origin(error))  # noqa: TRY400 - its text may quote a key
        else:
            self.unreadable.discard(ref.name)

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Take in that a Secret is gone: nothing more comes by it."""
        self._seen.pop(ref, None)
        self.unreadable.discard(ref.name)
        log.warning("Secret deleted", kind=kind, secret=ref.name, version=version)
        if ref == self._key_ref:
            self._key.drop()
        else:
            self._routes.put(ref.name, None)
            self._on_gone(ref.name.replace(".", "/", 1))

    def known(self, selection: Selection) -> Collection[Ref]:
        """Return the Secrets that were seen."""
        del selection
        return tuple(self._seen)

    def listed(self, selection: Selection, version: int) -> None:
        """Take in that a list was observed as a whole."""


def _version(manifest: Manifest) -> str:
    return str(manifest["metadata"]["resourceVersion"])


def _of_endpoint(manifest: Manifest) -> frozenset[str]:
    """Return the names in a compiled Secret that are read; raises `EndpointError`."""
    data = manifest.get("data") or {}
    keys = [name for name in data if name.startswith(KEY_PREFIX)]
    if len(keys) > MOST_KEYS:
        raise EndpointError(f"it has more than {MOST_KEYS} keys")
    if any(len(data[name]) > _LONGEST_KEY_TEXT for name in keys):
        raise EndpointError(f"a key is larger than {LONGEST_KEY} bytes")
    return frozenset((DOCUMENT, *keys))


def _data(manifest: Manifest, names: Container[str]) -> Mapping[str, bytes]:
    """Return some of a Secret's data, decoded; raises `EndpointError`."""
    if UNREADABLE in manifest:
        raise EndpointError(str(manifest[UNREADABLE]))
    try:
        return {
            name: base64.b64decode(text, validate=True)
            for name, text in (manifest.get("data") or {}).items()
            if name in names
        }
    except (TypeError, binascii.Error):
        raise EndpointError("the data is not base64") from None


def _named(name: str, read: Served) -> Served:
    """Return what is served by a Secret of this name; raises `EndpointError`.

    A namespace has no dot, so the name tells both parts; nobody comes by another's path.
    """
    endpoint = read.endpoint
    if endpoint.endpoint.replace("/", ".", 1) != name:
        raise EndpointError("endpoint: it does not match the Secret's name")
    if endpoint.path != f"/{endpoint.endpoint}":
        raise EndpointError("path: it does not match the endpoint")
    return read


def _failed(selection: Selection, error: ApiError) -> None:
    log.warning("watch failed", kind=selection.kind, status=error.status, reason=error.reason)
