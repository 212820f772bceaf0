"""Client of the list API of a review worker."""

import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import aiohttp

from troth.cli.inputs.single import fault
from troth.edge.outbound.servers import WrongServerError
from troth.pki.encodings import strict_json
from troth.resources.faults import FaultyManifests
from troth.resources.references import Ref

Document = dict[str, Any]
TIMEOUT = aiohttp.ClientTimeout(total=45, connect=30)
"""The worker answers within 30 s."""
LARGEST = 64 * 1024 * 1024
"""Maximum size of an answer in bytes."""

_OK, _UNAUTHORIZED, _NOT_FOUND = 200, 401, 404


class WorkerAPI:
    """Requests to a worker about the dead letters of one policy."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, token: str, policy: Ref, place: str
    ) -> None:
        """`place` is how errors name the worker."""
        self._session = session
        self._letters = f"{url}/v1/namespaces/{policy.namespace}/policies/{policy.name}/deadletters"
        self._headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        self._place = place

    async def get(self, path: str = "", query: Mapping[str, str] | None = None) -> Document:
        """Return the answer to a GET request; raises `FaultyManifests`."""
        return await self._ask("GET", path, params=query)

    async def dry_run(self, select: Document, action: str, until: str | None = None) -> Document:
        """Return what a review would do; raises `FaultyManifests`."""
        body = {"select": select, "action": action} | ({"until": until} if until else {})
        return await self._ask("POST", "/dry-run", json=body)

    async def _ask(self, method: str, path: str, **options: Any) -> Document:  # noqa: ANN401
        try:
            async with self._session.request(
                method,
                f"{self._letters}{path}",
                headers=self._headers,
                timeout=TIMEOUT,
                allow_redirects=False,  # another server must not get the token
                **options,
            ) as response:
                body = await response.content.read(LARGEST + 1)
                while len(body) <= LARGEST and (part := await response.content.read(LARGEST)):
                    body += part
                return self._document(response.status, body)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise UnreachableError(self._place, error) from None

    def _document(self, status: int, body: bytes) -> Document:
        if len(body) > LARGEST:
            raise fault(self._place, f"the answer is larger than {LARGEST} bytes")
        document: object = None
        with suppress(ValueError):
            document = strict_json.parse(body)
        if not isinstance(document, dict):
            raise fault(self._place, f"answered {status} and no JSON document")
        if status == _OK:
            return document
        message = document.get("message")
        told = message if isinstance(message, str) else json.dumps(document)[:500]
        if status == _NOT_FOUND:
            raise NotFoundError(fault(self._place, told).faults)
        if status == _UNAUTHORIZED:
            told += "; name another one with --token-file"
        raise fault(self._place, told)


class NotFoundError(FaultyManifests):
    """The worker has no such letter, or does not review the policy."""


class UnreachableError(FaultyManifests):
    """The worker could not be reached, or another server answered."""

    def __init__(self, place: str, error: BaseException) -> None:
        super().__init__(fault(place, _cause(error)).faults)


def _cause(error: BaseException) -> str:
    """Return why a request has no answer. It quotes no text of a library but of certificates."""
    chain: BaseException | None = error
    while chain is not None:
        if isinstance(chain, WrongServerError):
            return f"{chain.verify_message}; name the right one with --worker"
        if hasattr(chain, "verify_message"):
            return f"its certificate is not one of the trust domain: {chain.verify_message}"
        chain = chain.__cause__
    if isinstance(error, TimeoutError):
        return "did not answer in time; try again"
    return f"cannot be reached: {type(error).__name__}"
