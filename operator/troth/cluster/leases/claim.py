"""The claim of one installation of Troth to act in the cluster: a Lease with a fixed name.

Two installations would write the same objects, and each would create a root of its own for one
TrustDomain. An installation is known by its namespace, which all of its replicas share. The holder
of the Lease is that namespace, and the claim does not expire: an operator that does not run for a
while must not be replaced by one that has none of its keys. Another installation may take the claim
over once that namespace is gone, or once the Lease is deleted, as an uninstallation does.

A process acts only for the time that `Timing` allows after it has read its own claim. So an
installation that takes the claim acts only after that time: an earlier owner has stopped by then,
even if somebody deleted the Lease while it ran.
"""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import structlog

from troth.cluster.api import ApiServer
from troth.cluster.denials import logged
from troth.cluster.errors import ApiError
from troth.cluster.leases.lease import CONFLICT, NOT_FOUND, Timing, renew_time
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest

CLAIM = Ref("kube-public", "troth-claim")
"""Every cluster has this namespace, and no tenant may write in it."""
YOUNG = timedelta(minutes=5)
"""Age of a claim up to which an earlier owner may still act. The clock of the replica that took it
may differ from this one's."""

log = structlog.get_logger()


class Claim:
    """The claim of this process's installation, which `run` reads again and again."""

    def __init__(
        self,
        server: ApiServer,
        namespace: str,
        timing: Timing,
        *,
        is_gone: Callable[[str], bool],
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`namespace` is the installation's own; `is_gone` returns whether one does not exist."""
        self.holder = ""
        """Namespace of the installation that has the claim, as last read; empty if unknown."""
        self._server = server
        self._namespace = namespace
        self._timing = timing
        self._is_gone = is_gone
        self._monotonic = monotonic
        self._now = now
        self._holds_from = self._held_until = float("-inf")
        self._logged: tuple[object, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether this process's installation certainly has the claim now, and no other acts."""
        return self._holds_from <= self._monotonic() < self._held_until

    @property
    def is_own(self) -> bool:
        """Whether the claim was last read as this installation's."""
        return self.holder == self._namespace

    @property
    def obstacle(self) -> str:
        """A sentence about why this process does not act, or empty if the claim is its own."""
        if self.is_own:
            return ""
        if not self.holder:
            return f"the claim of the operator, Lease {CLAIM}, has not been read"
        return (
            f"another operator in the namespace {self.holder} runs Troth in this cluster "
            f"and has its claim; uninstall this one, or uninstall that one and delete the Lease "
            f"{CLAIM}"
        )

    async def run(self) -> None:
        """Read the claim, and take it if no installation has it, until cancelled."""
        while True:
            await self._look()
            pause = self._timing.renew_every * random.uniform(0.9, 1.1)  # noqa: S311 - no secret
            await asyncio.sleep(pause)

    async def _look(self) -> None:
        asked_at = self._monotonic()
        try:
            async with asyncio.timeout(self._timing.patience):
                lease = await self._read()
                if self._is_free(_holder(lease)):
                    lease = await self._take(lease)
        except TimeoutError:
            return
        except ApiError as error:
            if error.status != CONFLICT:  # somebody else has taken it
                self._warn(error)
            return
        self._note(lease, asked_at)

    async def _read(self) -> Manifest:
        """Return the Lease; without metadata.resourceVersion if there is none."""
        try:
            return await self._server.get("Lease", CLAIM)
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
        metadata = {"name": CLAIM.name, "namespace": CLAIM.namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata}

    def _is_free(self, holder: str) -> bool:
        return holder != self._namespace and (not holder or self._is_gone(holder))

    async def _take(self, lease: Manifest) -> Manifest:
        """Take the claim over the version that was read, and return the Lease.

        Raises `ApiError` 409 if another installation was faster.
        """
        spec = {"holderIdentity": self._namespace, "acquireTime": renew_time(self._now())}
        taken = {**lease, "spec": spec}
        if "resourceVersion" in lease["metadata"]:
            return await self._server.replace(taken)
        return await self._server.create(taken)

    def _note(self, lease: Manifest, asked_at: float) -> None:
        self.holder = _holder(lease)
        if self.is_own:
            if self._held_until <= asked_at:  # another installation may have had it
                wait = self._timing.duration if self._is_young(lease) else 0.0
                self._holds_from = self._monotonic() + wait
            self._held_until = asked_at + self._timing.duration - self._timing.margin
            self._log_change("info", "this operator has the claim of the cluster")
        else:
            self._held_until = float("-inf")
            self._log_change("error", f"not acting: {self.obstacle}")

    def _is_young(self, lease: Manifest) -> bool:
        acquired = lease["spec"].get("acquireTime")
        if acquired is None:
            return False
        return abs(self._now() - datetime.fromisoformat(acquired)) < YOUNG

    def _log_change(self, level: str, event: str) -> None:
        if self._logged != (event,):
            self._logged = (event,)
            getattr(log, level)(event, claim=str(CLAIM), namespace=self.holder)

    def _warn(self, error: ApiError) -> None:
        cause = error.status, error.reason
        if self._logged != cause:
            self._logged = cause
            log.warning(
                "claim of the cluster cannot be read or taken",
                claim=str(CLAIM),
                message=error.line,
                **logged(error),
            )


def _holder(lease: Manifest) -> str:
    return (lease.get("spec") or {}).get("holderIdentity") or ""
