"""A cluster administrator, who declares resources and observes the results."""

import asyncio
import base64
import io
import json
import ssl
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self, TypeVar

import aiohttp
import yaml

from tests.patience import PATIENCE
from troth.cluster.resources import AUDITED, RESOURCES, Resource
from troth.resources.references import Ref

Manifest = dict[str, Any]
T = TypeVar("T")

LONG = 2 * PATIENCE
"""Seconds to wait for a long backoff, or for the controller manager."""
SHORTEST_PAUSE, LONGEST_PAUSE = 0.05, 0.25
"""Seconds between two polls."""
NOT_FOUND = 404


def _asked_for(group: str, kind: str, *, namespaced: bool = False) -> Resource:
    return Resource(group, "v1", kind, f"{kind.lower()}s".replace("ys", "ies"), namespaced)


_RBAC = "rbac.authorization.k8s.io"
_ADMISSION = "admissionregistration.k8s.io"
KINDS = (
    RESOURCES
    | AUDITED
    | {
        each.kind: each
        for each in (
            _asked_for("", "ServiceAccount", namespaced=True),
            _asked_for(_RBAC, "ClusterRole"),
            _asked_for(_RBAC, "ClusterRoleBinding"),
            _asked_for(_RBAC, "Role", namespaced=True),
            _asked_for(_RBAC, "RoleBinding", namespaced=True),
            _asked_for("authorization.k8s.io", "SubjectAccessReview"),
            _asked_for("apiextensions.k8s.io", "CustomResourceDefinition"),
            _asked_for(_ADMISSION, "ValidatingAdmissionPolicy"),
            _asked_for(_ADMISSION, "ValidatingAdmissionPolicyBinding"),
            _asked_for(_ADMISSION, "ValidatingWebhookConfiguration"),
            _asked_for(_ADMISSION, "MutatingAdmissionPolicy"),
            _asked_for(_ADMISSION, "MutatingAdmissionPolicyBinding"),
            _asked_for(_ADMISSION, "MutatingWebhookConfiguration"),
        )
    }
)
"""The kinds that Troth requests, the others in its chart, and those of its surroundings."""


def reached_by(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """Return the API server's address, and the TLS context of a kubeconfig's user."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    if "client-certificate-data" not in user:
        return cluster["server"], context
    with tempfile.TemporaryDirectory() as directory:
        pair = Path(directory, "client.pem")
        fields = (user["client-certificate-data"], user["client-key-data"])
        pair.write_bytes(b"".join(map(base64.b64decode, fields)))
        context.load_cert_chain(pair)
    return cluster["server"], context


async def until(
    look: Callable[[], Awaitable[T]], holds: Callable[[T], Any], patience: float = PATIENCE
) -> T:
    """Poll until the result holds; return it. Fails with the last result.

    Polls less often the longer it takes, because polls take CPU from what the test waits for.
    """
    began = time.monotonic()
    while True:
        seen = await look()
        if holds(seen):
            return seen
        elapsed = time.monotonic() - began
        assert elapsed < patience, f"never came; last seen: {seen}"
        await asyncio.sleep(min(max(elapsed / 10, SHORTEST_PAUSE), LONGEST_PAUSE))


LONG_WAIT = 20.0
"""Seconds of a wait after which the operator's clock advances."""
TOO_MANY = 429
"""Also the answer while the API server loads the objects of a new or changed definition."""
NOT_READY_TRIES, NOT_READY_PAUSE = 20, 0.5


class Refused(Exception):  # noqa: N818 - an answer of the API server
    """The API server rejected the request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Person:
    """Sends plain requests to the API server, independently of the operator's code.

    With `impersonates`, it sends them as another user, for which it needs the right.
    """

    def __init__(self, kubeconfig: Path, impersonates: str = "") -> None:
        self._server, self._tls = reached_by(kubeconfig)
        user = yaml.safe_load(kubeconfig.read_text())["users"][0]["user"]
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        self._headers |= {"Impersonate-User": impersonates} if impersonates else {}
        self._session: aiohttp.ClientSession | None = None
        self.let_time_pass: Callable[[], Awaitable[None]] | None = None
        """Advances the operator's clock, for waits that take long.

        On a busy machine the operator may lose its lease and retry later, by a clock that only the
        test moves.
        """
        self.applied: dict[tuple[str, Ref], Manifest] = {}
        """What was last applied at each place."""

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=self._tls), headers=self._headers
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session
        await self._session.close()

    # Declarations

    async def put(self, *manifests: Manifest, **parameters: str) -> Manifest:
        """Apply manifests; return the last as it is now."""
        for manifest in manifests:
            self.applied[manifest["kind"], Ref.of(manifest)] = manifest
            applied = await self._ask(
                "PATCH",
                manifest["kind"],
                Ref.of(manifest),
                body=manifest,
                content="application/apply-patch+yaml",
                fieldManager="person",
                force="true",
                **parameters,
            )
        return applied

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object, which may be larger than an applied one; return it."""
        place = Ref(manifest["metadata"].get("namespace", ""), "")
        return await self._ask("POST", manifest["kind"], place, body=manifest)

    async def edit(self, kind: str, ref: Ref, patch: Manifest, **parameters: str) -> Manifest:
        """Change a part of an object."""
        content = "application/merge-patch+json"
        return await self._ask("PATCH", kind, ref, body=patch, content=content, **parameters)

    async def replace(self, manifest: Manifest) -> Manifest:
        return await self._ask("PUT", manifest["kind"], Ref.of(manifest), body=manifest)

    async def send(self, manifest: Manifest, instead: dict[str, bytes]) -> None:
        """Create an object with bytes of JSON in place of strings in it, which no encoder writes.

        The answer is not decoded: it is as hostile as the object.
        """
        assert self._session
        text = json.dumps(manifest).encode()
        for placeholder, part in instead.items():
            text = text.replace(json.dumps(placeholder).encode(), part)
        ref = Ref.of(manifest)
        path = KINDS[manifest["kind"]].path(name=None, namespace=ref.namespace or None)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        async with self._session.post(
            f"{self._server}{path}", data=text, headers=headers
        ) as response:
            answer = await response.read()
        if response.status >= 400:
            raise Refused(response.status, answer[:500].decode("utf-8", "replace"))

    async def delete(self, kind: str, ref: Ref) -> None:
        """Delete an object, or all in a namespace if there is no name."""
        try:
            await self._ask("DELETE", kind, ref)
        except Refused as refusal:
            if refusal.status != NOT_FOUND:
                raise

    async def ask(self, method: str, kind: str, ref: Ref, **how: Any) -> Manifest:
        """Send a request of any kind: its `body`, `content` type and parameters."""
        return await self._ask(method, kind, ref, **how)

    # Authentication and RBAC

    async def token(self, account: Ref) -> str:
        """Return a token for a ServiceAccount, valid for a day."""
        body = {"spec": {"expirationSeconds": 24 * 3600}}
        asked = await self._ask("POST", "ServiceAccount", account, body=body, subresource="token")
        token: str = asked["status"]["token"]
        return token

    async def may(self, account: Ref, **what: str) -> bool:
        """Return whether a ServiceAccount has a right: verb, group, resource and others."""
        user = f"system:serviceaccount:{account.namespace}:{account.name}"
        body = {"spec": {"user": user, "resourceAttributes": what}}
        answer = await self._ask("POST", "SubjectAccessReview", Ref("", ""), body=body)
        return bool(answer["status"]["allowed"])

    # Observations

    async def get(self, kind: str, ref: Ref) -> Manifest | None:
        """Return an object, or None if it does not exist."""
        try:
            return await self._ask("GET", kind, ref)
        except Refused as refusal:
            if refusal.status != NOT_FOUND:
                raise
            return None

    async def the(self, kind: str, ref: Ref) -> Manifest:
        """Return an object that must exist."""
        return await self._ask("GET", kind, ref)

    async def all(self, kind: str, namespace: str = "") -> list[Manifest]:
        items: list[Manifest] = (await self._ask("GET", kind, Ref(namespace, "")))["items"]
        return items

    async def events(self, namespace: str) -> list[tuple[str, str]]:
        """Return the reason and the subject of every Event there that Troth wrote."""
        return sorted(
            (event["reason"], event["regarding"]["name"])
            for event in await self.all("Event", namespace)
            if event.get("reportingController") == "troth.dev/operator"
        )

    async def sees(
        self,
        kind: str,
        ref: Ref,
        holds: Callable[[Manifest], Any] = lambda _: True,
        patience: float = PATIENCE,
    ) -> Manifest:
        """Wait until an object exists and satisfies a condition; return it."""
        began = time.monotonic()

        async def look() -> Manifest | None:
            if self.let_time_pass is not None and time.monotonic() - began > LONG_WAIT:
                await self.let_time_pass()
            return await self.get(kind, ref)

        seen = await until(look, lambda found: found is not None and holds(found), patience)
        assert seen is not None
        return seen

    async def misses(self, kind: str, ref: Ref, patience: float = PATIENCE) -> None:
        """Wait until an object no longer exists."""
        await until(lambda: self.get(kind, ref), lambda found: found is None, patience)

    async def hears(self, kind: str, ref: Ref, type_: str, reason: str, status: str) -> str:
        """Wait until a condition has a reason and a status; return its message."""

        def told(found: Manifest) -> bool:
            said = condition(found, type_)
            return (said.get("reason"), said.get("status")) == (reason, status)

        message: str = condition(await self.sees(kind, ref, told), type_)["message"]
        return message

    async def ready(self, kind: str, ref: Ref) -> Manifest:
        """Wait until a resource is Ready for its current generation; return it."""

        def is_ready(found: Manifest) -> bool:
            said = condition(found, "Ready")
            current = said.get("observedGeneration") == found["metadata"]["generation"]
            return current and said.get("status") == "True"

        return await self.sees(kind, ref, is_ready)

    async def _ask(
        self,
        method: str,
        kind: str,
        ref: Ref,
        body: Manifest | None = None,
        content: str = "application/json",
        **parameters: str,
    ) -> Manifest:
        """Send a request, and retry as kubectl does while the API server is not ready."""
        for _ in range(NOT_READY_TRIES):
            try:
                return await self._ask_once(
                    method, kind, ref, body=body, content=content, **parameters
                )
            except Refused as refusal:
                if refusal.status != TOO_MANY:
                    raise
                await asyncio.sleep(NOT_READY_PAUSE)
        return await self._ask_once(method, kind, ref, body=body, content=content, **parameters)

    async def _ask_once(
        self,
        method: str,
        kind: str,
        ref: Ref,
        *,
        body: Manifest | None,
        content: str,
        **parameters: str,
    ) -> Manifest:
        assert self._session
        path = KINDS[kind].path(name=ref.name or None, namespace=ref.namespace or None)
        subresource = parameters.pop("subresource", "")
        async with self._session.request(
            method,
            f"{self._server}{path}{subresource and '/' + subresource}",
            params=parameters,
            data=None if body is None else io.BytesIO(json.dumps(body).encode()),
            headers={"Content-Type": content, "Accept": "application/json"},
        ) as response:
            if method == "DELETE" and response.status < 400:
                return {}  # a deleted object may nest deeper than any decoder reads
            answer: Manifest = await response.json()
        if response.status >= 400:
            raise Refused(response.status, answer.get("message", ""))
        return answer


def condition(resource: Manifest, type_: str) -> Manifest:
    """Return a condition of a resource; empty if it has none of that type."""
    conditions = (resource.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == type_), {})


def version(manifest: Manifest) -> str:
    """Return the resource version of an object, which changes with every effective write."""
    found: str = manifest["metadata"]["resourceVersion"]
    return found
