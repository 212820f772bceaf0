"""A Lease as an API server keeps it, with a fate for each request."""

import asyncio
import copy
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.builders import Manifest
from troth.cluster.errors import STORE_FULL, ApiError
from troth.cluster.leases.lease import Timing
from troth.resources.references import Ref

REF = Ref("troth-system", "troth-operator")
SAFE = Timing()


@dataclass(frozen=True)
class Fate:
    """What becomes of one request: how long it takes there and back, and whether it is lost."""

    there: float = 0.0
    back: float = 0.0
    lost: str = ""


@dataclass
class Record:
    """The Lease as it is stored."""

    lease: Manifest | None = None
    version: int = 0
    writes: int = 0


@dataclass
class LeaseServer:
    """A way to one Lease with optimistic concurrency: one fate after another."""

    fates: Iterator[Fate] = field(default_factory=lambda: itertools.repeat(Fate()))
    record: Record = field(default_factory=Record)
    ref: Ref = REF
    full: bool = False
    """Whether etcd rejects writes because it is full."""

    async def get(self, kind: str, ref: Ref) -> Manifest:
        assert (kind, ref) == ("Lease", self.ref)
        return await self._ask(self._read)

    async def create(self, manifest: Manifest) -> Manifest:
        return await self._ask(lambda: self._store(manifest, create=True))

    async def replace(self, manifest: Manifest) -> Manifest:
        return await self._ask(lambda: self._store(manifest, create=False))

    async def _ask(self, act: Callable[[], Manifest]) -> Manifest:
        # A request that was sent arrives, also when the caller stops waiting for its answer.
        return await asyncio.shield(asyncio.create_task(self._sent(act, next(self.fates))))

    async def _sent(self, act: Callable[[], Manifest], fate: Fate) -> Manifest:
        await asyncio.sleep(fate.there)
        if fate.lost == "request":
            raise ApiError(0, "TimeoutError", "never came")
        answer = act()
        await asyncio.sleep(fate.back)
        if fate.lost == "answer":
            raise ApiError(0, "TimeoutError", "came and was not heard of")
        return answer

    async def merge_patch(self, kind: str, ref: Ref, patch: Manifest) -> Manifest:
        assert (kind, ref) == ("Lease", self.ref)
        return await self._ask(lambda: self._patched(patch))

    def _patched(self, patch: Manifest) -> Manifest:
        lease = self._read()
        _merge(lease, patch)
        return self._store(lease, create=False)

    def _read(self) -> Manifest:
        if self.record.lease is None:
            raise ApiError(404, "NotFound", "")
        return copy.deepcopy(self.record.lease)

    def _store(self, manifest: Manifest, *, create: bool) -> Manifest:
        if self.full:
            raise ApiError(500, STORE_FULL, "")
        if create:
            if self.record.lease is not None:
                raise ApiError(409, "AlreadyExists", "")
        else:
            if self.record.lease is None:
                raise ApiError(404, "NotFound", "")
            given = manifest["metadata"].get("resourceVersion")
            if given != self.record.lease["metadata"]["resourceVersion"]:
                raise ApiError(409, "Conflict", "")
        self.record.version += 1
        self.record.writes += 1
        self.record.lease = copy.deepcopy(manifest)
        self.record.lease["metadata"]["resourceVersion"] = str(self.record.version)
        return copy.deepcopy(self.record.lease)


def _merge(into: Manifest, patch: Manifest) -> None:
    """Apply a merge patch (RFC 7386)."""
    for name, value in patch.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict):
            _merge(into.setdefault(name, {}), value)
        else:
            into[name] = value


fates = st.builds(
    Fate,
    there=st.sampled_from((0.0, 0.0, 0.1, 2.0, 6.0, 12.0, 20.0)),
    back=st.sampled_from((0.0, 0.0, 0.1, 2.0, 6.0, 12.0, 20.0)),
    lost=st.sampled_from(("", "", "", "request", "answer")),
)


ways = st.lists(fates, max_size=25)
