"""Replay stores in tests: claims that must succeed, both kinds, and one that can be away."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sandbox.valkey import ValkeyServer
from troth.replay.memory import Memory
from troth.replay.store import Claimed, Repeated, Store, StoreUnavailableError
from troth.replay.valkey import Valkey

LEASE, WINDOW = 30.0, 3600.0


def new() -> bytes:
    return os.urandom(32)


async def claimed(store: Store, key: bytes, lease: float = LEASE) -> Claimed:
    found = await store.claim(key, lease)
    assert isinstance(found, Claimed)
    return found


@asynccontextmanager
async def store_of(kind: str, server: ValkeyServer) -> AsyncIterator[Store]:
    store: Store = Memory() if kind == "memory" else Valkey(server.url)
    try:
        yield store
    finally:
        await store.close()


both = pytest.mark.parametrize("kind", ["memory", "valkey"])


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Away(Memory):
    """A store that can be away."""

    away = False

    async def claim(self, key: bytes, lease: float) -> Claimed | Repeated:
        self._check()
        return await super().claim(key, lease)

    async def done(self, claim: Claimed, window: float, value: bytes = b"") -> None:
        self._check()
        await super().done(claim, window, value)

    async def value(self, key: bytes) -> bytes | None:
        self._check()
        return await super().value(key)

    async def release(self, claim: Claimed) -> None:
        self._check()
        await super().release(claim)

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailableError("away")
