"""Watch of the Secrets that the operator writes for this gateway.

Endpoints are independent. An unreadable Secret is logged once for each version and changes nothing:
its last readable version stays in use. If a Secret is deleted, its endpoint ends at once. While the
API server or the operator is unavailable, the last state stays in use.

A revoked key must not stay in use while a dead watch goes unnoticed, so the versions of the Secrets
are polled too.
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
"""Label of each Secret for a gateway and of its report; the value is the gateway's name."""
LONGEST_PAUSE = 2.0
"""Maximum time in seconds between attempts to reach the API server; revocations must not wait."""
CHECK_EVERY = 5.0
"""Interval in seconds to poll the versions of the Secrets, in addition to the watch."""
_NOT_FOUND = 404
_LONGEST_KEY_TEXT = 4 * (LONGEST_KEY // 3 + 1)
"""Maximum length of a key in base64."""

log = structlog.get_logger()


class Following:
    """Keeps routes and signing key in step with the Secrets; a sink of an informer."""

    def __init__(
        self,
        namespace: str,
        gateway: str,
        routes: Routes,
        on_gone: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`on_gone` is called with each deleted endpoint (`<namespace>/<name>`)."""
        self.unreadable: set[str] = set()
        """Names of the Secrets whose newest version is unreadable."""
        self._routes = routes
        self._on_gone = on_gone
        self._key = SigningKey()
        self._key_ref = Ref(namespace, f"{gateway}-webhook-signing")
        # the operator cannot revoke what it does not see, so it must not be served either
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
        """Whether the endpoints are known and there is a signing key."""
        return self.synced and self._key.is_there

    def signer(self, gateway_id: Callable[[], str]) -> Signer | None:
        """Return the signer for the gateway with this SPIFFE ID, None if there is no key."""
        return self._key.signer(gateway_id)

    def informer(self, server: ApiServer) -> Informer:
        """Return the informer, with one list and one watch, that feeds this sink."""
        backoff = Backoff(most=LONGEST_PAUSE)
        self._informer = Informer(server, self._selection, self, _failed, backoff)
        return self._informer

    # Polling

    async def check(self, server: ApiServer) -> None:
        """Poll the versions until cancelled, and read each Secret that has a new one."""
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
            if error.status != _NOT_FOUND:  # it was deleted meanwhile; the next poll handles that
                raise
        else:
            if self._seen.get(ref) == seen:  # otherwise the watch was faster, and this may be older
                self.observe(found)

    # Sink of the informer

    def observe(self, manifest: Manifest) -> None:
        """Take in the current state of a Secret."""
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
        """Take in that a Secret was deleted: its endpoint is no longer served."""
        self._seen.pop(ref, None)
        self.unreadable.discard(ref.name)
        log.warning("Secret deleted", kind=kind, secret=ref.name, version=version)
        if ref == self._key_ref:
            self._key.drop()
        else:
            self._routes.put(ref.name, None)
            self._on_gone(ref.name.replace(".", "/", 1))

    def known(self, selection: Selection) -> Collection[Ref]:
        """Return the known Secrets."""
        del selection
        return tuple(self._seen)

    def listed(self, selection: Selection, version: int) -> None:
        """Take in that a whole list was observed."""


def _version(manifest: Manifest) -> str:
    return str(manifest["metadata"]["resourceVersion"])


def _of_endpoint(manifest: Manifest) -> frozenset[str]:
    """Return the names in an endpoint's Secret that are read; raises `EndpointError`."""
    data = manifest.get("data") or {}
    keys = [name for name in data if name.startswith(KEY_PREFIX)]
    if len(keys) > MOST_KEYS:
        raise EndpointError(f"it has more than {MOST_KEYS} keys")
    if any(len(data[name]) > _LONGEST_KEY_TEXT for name in keys):
        raise EndpointError(f"a key is larger than {LONGEST_KEY} bytes")
    return frozenset((DOCUMENT, *keys))


def _data(manifest: Manifest, names: Container[str]) -> Mapping[str, bytes]:
    """Return these members of a Secret's data, decoded; raises `EndpointError`."""
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
    """Return the endpoint of a Secret with this name; raises `EndpointError`.

    A namespace has no dot, so the name determines namespace and endpoint, and no Secret can serve
    the path of another endpoint.
    """
    endpoint = read.endpoint
    if endpoint.endpoint.replace("/", ".", 1) != name:
        raise EndpointError("endpoint: it does not match the Secret's name")
    if endpoint.path != f"/{endpoint.endpoint}":
        raise EndpointError("path: it does not match the endpoint")
    return read


def _failed(selection: Selection, error: ApiError) -> None:
    log.warning("watch failed", kind=selection.kind, status=error.status, reason=error.reason)
