"""The one Secret the issuer works from, followed: what it says now, or last said.

The API server may be away, and the operator too: what was read last goes on being the mandate. A
version that cannot be read changes nothing, and is told of once. But where the Secret is deleted
the issuer's mandate ends.

A right that was withdrawn must not live on for as long as a dead watch goes unnoticed, so the
version is asked for beside it.
"""

import time
from collections.abc import Callable, Collection
from functools import partial

import structlog

from troth.cluster.api import ApiServer, Selection
from troth.cluster.errors import ApiError
from troth.cluster.informer import Backoff, Informer
from troth.cluster.poll import poll
from troth.issuer.mandate import Mandate, read_mandate
from troth.issuer.view import ViewError
from troth.resources.references import Ref
from troth.world.facts.objects import UNREADABLE, Manifest
from troth.world.origin import origin

LONGEST_PAUSE = 2.0
"""Seconds between attempts to reach the API server: a revocation must not wait for a backoff."""
CHECK_EVERY = 2.0
"""Seconds after which the version of the Secret is asked for, whatever the watch tells."""
_NOT_FOUND = 404

log = structlog.get_logger()


def secret_name(domain: str) -> str:
    """Return the name of the Secret that the issuer of a TrustDomain works from."""
    return f"{domain}-tokens"


class Following:
    """Keeps the mandate in step with the Secret; a sink of an informer."""

    def __init__(
        self, namespace: str, domain: str, uptime: Callable[[], float] = time.monotonic
    ) -> None:
        self.mandate: Mandate | None = None
        self._ref = Ref(namespace, secret_name(domain))
        self._selection = Selection("Secret", namespace, fields=f"metadata.name={self._ref.name}")
        self._uptime = uptime
        self._since = 0.0
        self._seen = ""

    @property
    def ready(self) -> bool:
        """Whether there is a mandate."""
        return self.mandate is not None

    @property
    def age(self) -> float | None:
        """Seconds since the mandate changed or was first read; None where there is none."""
        return None if self.mandate is None else self._uptime() - self._since

    def current(self) -> Mandate | None:
        """Return what may be issued now."""
        return self.mandate

    def informer(self, server: ApiServer) -> Informer:
        """Return what keeps this in step: one list and one watch, of exactly one object."""
        return Informer(server, self._selection, self, _failed, Backoff(most=LONGEST_PAUSE))

    async def check(self, server: ApiServer) -> None:
        """Ask for the Secret's version until cancelled, and for all of it where that is new."""
        await poll(lambda: self._check(server), CHECK_EVERY, partial(_failed, self._selection))

    async def _check(self, server: ApiServer) -> None:
        seen = self._seen
        try:
            found = await server.metadata("Secret", self._ref)
            if found["metadata"]["resourceVersion"] == seen:
                return
            seen = self._seen
            found = {**await server.get("Secret", self._ref), "kind": "Secret"}
        except ApiError as error:
            if error.status != _NOT_FOUND:
                raise
            if self._seen == seen and seen:
                self.forget("Secret", self._ref, 0)
        else:
            if self._seen == seen:  # else the watch was faster, and this may be the older one
                self.observe(found)

    def observe(self, manifest: Manifest) -> None:
        """Take in the Secret as it is now."""
        version = manifest["metadata"]["resourceVersion"]
        if Ref.of(manifest) != self._ref or version == self._seen:
            return
        self._seen = version
        try:
            if UNREADABLE in manifest:
                raise ViewError(str(manifest[UNREADABLE]))  # noqa: TRY301 - as for all else of it
            mandate = read_mandate(manifest)
        except ViewError as error:
            log.warning(
                "issuer configuration unreadable",
                secret=str(self._ref),
                version=version,
                why=str(error),
            )
            return
        except Exception as error:  # noqa: BLE001 - no Secret ends the issuer
            log.error(  # noqa: TRY400 - its text may quote a key
                "issuer configuration unreadable",
                secret=str(self._ref),
                version=version,
                why=origin(error),
            )
            return
        self.mandate, self._since = mandate, self._uptime()
        log.info(
            "issuer configuration read",
            version=version,
            trust_domain=mandate.view.trust_domain,
            callers=len(mandate.view.callers),
            signing_key=mandate.signing_key,
        )

    def forget(self, kind: str, ref: Ref, version: int) -> None:
        """Take in that the Secret is gone: nothing more is issued."""
        if ref == self._ref:
            log.warning("issuer configuration deleted", kind=kind, secret=str(ref), version=version)
            self.mandate, self._seen = None, ""

    def known(self, selection: Selection) -> Collection[Ref]:
        """Return the Secret, if it was seen."""
        del selection
        return (self._ref,) if self._seen else ()

    def listed(self, selection: Selection, version: int) -> None:
        """Take in that a list was observed as a whole."""


def _failed(selection: Selection, error: ApiError) -> None:
    log.warning("watch failed", kind=selection.kind, status=error.status, reason=error.reason)
