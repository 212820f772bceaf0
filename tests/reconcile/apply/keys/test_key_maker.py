"""Slow private keys are generated a few at once, in the order of their requests."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from tests.patience import PATIENCE
from tests.pki import builders as pki
from troth.pki.keys.parsing import PrivateKey
from troth.planning.steps.step import Target
from troth.reconcile.apply.keys.key_maker import KeyMaker, KeyNotReady, at_once
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref
from troth.world.keys import Key, Keys, identity_key

MANY = 40


@dataclass
class Works:
    """Generates keys when the test lets it."""

    going: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    busy: int = 0
    most: int = 0
    begun: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def generate(self, _: KeyAlgorithm) -> PrivateKey:
        with self.lock:
            self.busy += 1
            self.begun += 1
            self.most = max(self.most, self.busy)
        assert self.going.acquire(timeout=PATIENCE)
        with self.lock:
            self.busy -= 1
        return pki.key(KeyAlgorithm.ED25519)


def key(number: int) -> Key:
    return identity_key(Ref("shop", f"service-{number}"))


def target(number: int) -> Target:
    return "Secret", Ref("shop", f"service-{number}-identity")


@asynccontextmanager
async def at_work(works: Works) -> AsyncIterator[tuple[KeyMaker, list[Key]]]:
    ready: list[Key] = []

    def concern(keys: Keys) -> None:
        ready.extend(keys)

    maker = KeyMaker(concern, works.generate)
    try:
        yield maker, ready
    finally:
        works.going.release(MANY)
        await maker.close()


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - threads notify nobody
            await asyncio.sleep(0.001)


async def test_keys_are_generated_a_few_at_once_in_the_order_of_requests() -> None:
    works = Works()
    async with at_work(works) as (maker, ready):
        for number in range(MANY):
            assert maker.request(key(number), target(number), KeyAlgorithm.RSA_4096)
        await until(lambda: works.busy == at_once())
        assert ready == []
        works.going.release(MANY)
        await until(lambda: len(ready) == MANY)
        assert works.most <= at_once()
        turns = [int(each.ref.name.removeprefix("service-")) for each in ready]
        assert all(abs(turn - place) < at_once() for place, turn in enumerate(turns))


async def test_key_is_taken_once_and_by_its_own_secret_alone() -> None:
    works = Works()
    async with at_work(works) as (maker, ready):
        with pytest.raises(KeyNotReady):
            maker.take(target(1), KeyAlgorithm.RSA_2048)
        assert maker.request(key(1), target(1), KeyAlgorithm.RSA_2048)
        assert not maker.request(key(1), target(1), KeyAlgorithm.RSA_2048)
        works.going.release()
        await until(lambda: ready == [key(1)])
        for other in (target(2), KeyAlgorithm.RSA_2048), (target(1), KeyAlgorithm.RSA_4096):
            with pytest.raises(KeyNotReady):
                maker.take(*other)
        assert key(1) in maker
        maker.take(target(1), KeyAlgorithm.RSA_2048)
        assert key(1) not in maker
        with pytest.raises(KeyNotReady):
            maker.take(target(1), KeyAlgorithm.RSA_2048)


async def test_key_that_is_no_longer_needed_is_not_generated_or_dropped() -> None:
    works = Works()
    async with at_work(works) as (maker, ready):
        for number in range(at_once() + 1):
            maker.request(key(number), target(number), KeyAlgorithm.RSA_4096)
        await until(lambda: works.busy == at_once())
        for number in range(at_once() + 1):
            maker.withdraw(key(number))
        maker.request(key(MANY), target(MANY), KeyAlgorithm.RSA_4096)
        works.going.release(at_once() + 1)
        await until(lambda: key(MANY) in ready)
        assert key(at_once()) not in ready
        with pytest.raises(KeyNotReady):
            maker.take(target(0), KeyAlgorithm.RSA_4096)


async def test_other_algorithm_replaces_a_request() -> None:
    works = Works()
    async with at_work(works) as (maker, ready):
        maker.request(key(1), target(1), KeyAlgorithm.RSA_4096)
        assert maker.request(key(1), target(1), KeyAlgorithm.RSA_2048)
        works.going.release(2)
        await until(lambda: len(ready) == 2)
        maker.take(target(1), KeyAlgorithm.RSA_2048)


async def test_fast_keys_need_no_request() -> None:
    async with at_work(Works()) as (maker, _):
        maker._generate = pki.key
        assert maker.take(target(1), KeyAlgorithm.ECDSA_P256) == pki.key(KeyAlgorithm.ECDSA_P256)


async def test_withdrawn_and_repeated_request_is_generated_once() -> None:
    works = Works()
    async with at_work(works) as (maker, ready):
        for number in range(at_once() + 1):
            maker.request(key(number), target(number), KeyAlgorithm.RSA_4096)
        await until(lambda: works.busy == at_once())
        last = key(at_once())
        for _ in range(MANY):
            maker.withdraw(last)
            assert maker.request(last, target(at_once()), KeyAlgorithm.RSA_4096)
        assert len(maker._waiting) == 1
        works.going.release(MANY)
        await until(lambda: last in ready and not maker._tasks)
        assert works.begun == at_once() + 1


async def test_failed_generation_is_reported_once_and_then_repeated() -> None:
    def fail(_: KeyAlgorithm) -> PrivateKey:
        raise MemoryError

    works = Works()
    async with at_work(works) as (maker, ready):
        maker._generate = fail
        maker.request(key(1), target(1), KeyAlgorithm.RSA_4096)
        await until(lambda: ready == [key(1)])
        with pytest.raises(MemoryError):
            maker.take(target(1), KeyAlgorithm.RSA_4096)
        with pytest.raises(KeyNotReady):
            maker.take(target(1), KeyAlgorithm.RSA_4096)
        maker._generate = works.generate
        works.going.release()
        assert maker.request(key(1), target(1), KeyAlgorithm.RSA_4096)
        await until(lambda: ready == [key(1), key(1)])
        maker.take(target(1), KeyAlgorithm.RSA_4096)


@pytest.mark.parametrize(("processors", "keys"), [(None, 1), (1, 1), (2, 1), (3, 2), (64, 4)])
def test_system_without_affinity_generates_keys_too(
    processors: int | None, keys: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    assert at_once() == keys
