"""Follows the Secrets that the operator compiles for this gateway.

Each endpoint has its own Secret. A Secret that cannot be read affects no other endpoint.
"""

import base64
import binascii
from collections.abc import Callable, Container, Mapping

import structlog

from troth.cluster.selection import Selection
from troth.documents.webhook_endpoint import DOCUMENT, GATEWAY_LABEL, KEY_PREFIX, EndpointError
from troth.pki.tokens.webhook import Signer
from troth.resources.references import Ref
from troth.serving.secret_watch import SecretWatch
from troth.webhooks.gateway.forwarding.signing import ACTIVE, SigningKey
from troth.webhooks.gateway.routes import MOST_KEYS, Routes, Served, served
from troth.webhooks.schemes.scheme import LONGEST_KEY
from troth.world.facts.objects import MANAGED_BY, Manifest

POLL_INTERVAL = 5.0
"""Seconds between two polls of the Secrets' versions."""
_LONGEST_KEY_TEXT = 4 * (LONGEST_KEY // 3 + 1)
"""Maximum length of a key in base64."""

log = structlog.get_logger()


class EndpointWatch(SecretWatch):
    """Keeps the routes and the signing key current."""

    invalid = EndpointError

    def __init__(
        self,
        namespace: str,
        gateway: str,
        routes: Routes,
        on_deleted: Callable[[str], None] = lambda _: None,
        workers: int = 1,
    ) -> None:
        """`on_deleted` is called with each deleted endpoint, as `<namespace>/<name>`."""
        self.unreadable: set[str] = set()
        """Names of the Secrets whose newest version is unreadable."""
        self._routes = routes
        self._on_deleted = on_deleted
        self._workers = workers
        self._key = SigningKey()
        self._key_ref = Ref(namespace, f"{gateway}-webhook-signing")
        # the operator sees and deletes only what it manages, so nothing else may be in effect
        labels = f"{GATEWAY_LABEL}={gateway},{MANAGED_BY}=troth"
        super().__init__(Selection("Secret", namespace, labels=labels), POLL_INTERVAL)

    @property
    def ready(self) -> bool:
        """Whether the endpoints are known and there is a signing key."""
        return self.synced and self._key.is_there

    def signer(self, gateway_id: Callable[[], str]) -> Signer | None:
        """Return the signer for the gateway with this SPIFFE ID; None without a key."""
        return self._key.signer(gateway_id)

    def _read(self, ref: Ref, version: str, manifest: Manifest) -> None:
        if ref == self._key_ref:
            self._key.take(_data(manifest, frozenset({ACTIVE})))
            log.info("signing key read", version=version, kid=self._key.kid)
        else:
            data = _data(manifest, _of_endpoint(manifest))
            self._routes.put(ref.name, _named(ref.name, served(data, self._workers)))
            log.info("endpoint read", secret=ref.name, version=version)
        self.unreadable.discard(ref.name)

    def _unreadable(self, ref: Ref, version: str, why: str, *, expected: bool) -> None:
        self.unreadable.add(ref.name)
        if expected:
            log.warning("Secret unreadable", secret=ref.name, version=version, why=why)
        else:
            log.error("Secret unreadable", secret=ref.name, version=version, why=why)

    def _deleted(self, kind: str, ref: Ref, version: int) -> None:
        self.unreadable.discard(ref.name)
        log.warning("Secret deleted", kind=kind, secret=ref.name, version=version)
        if ref == self._key_ref:
            self._key.drop()
        else:
            self._routes.put(ref.name, None)
            self._on_deleted(ref.name.replace(".", "/", 1))


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
    """Return some of a Secret's data, decoded; raises `EndpointError`."""
    try:
        return {
            name: base64.b64decode(text, validate=True)
            for name, text in (manifest.get("data") or {}).items()
            if name in names
        }
    except (TypeError, binascii.Error):
        raise EndpointError("the data is not base64") from None


def _named(name: str, read: Served) -> Served:
    """Return the endpoint if the Secret of this name may define it; raises `EndpointError`.

    A namespace has no dot, so the name determines both parts. No Secret can take the path of
    another endpoint.
    """
    endpoint = read.endpoint
    if endpoint.endpoint.replace("/", ".", 1) != name:
        raise EndpointError("endpoint: it does not match the Secret's name")
    if endpoint.path != f"/{endpoint.endpoint}":
        raise EndpointError("path: it does not match the endpoint")
    return read
