"""Large bodies are verified in threads, and only so many wait for one."""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tests.patience import PATIENCE
from tests.webhooks.gateway.running import compiled, endpoint, running_gateway, until
from troth.webhooks.gateway import verification
from troth.webhooks.gateway.answers import RefusalError
from troth.webhooks.gateway.routes import Served, served
from troth.webhooks.gateway.verification import INLINE, Verifier
from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.scheme import Key, Scheme, Verified

LARGE = b"x" * (INLINE + 1)


@dataclass
class Watched:
    """A scheme that says in which threads it verifies, and waits before it does."""

    scheme: Scheme
    threads: list[str] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def verify(
        self, delivery: Delivery, keys: Sequence[Key], now: float, tolerance: float
    ) -> Verified:
        self.threads.append(threading.current_thread().name)
        self.gate.wait(PATIENCE)
        return self.scheme.verify(delivery, keys, now, tolerance)


def watched() -> tuple[Watched, Served]:
    found = served(compiled(endpoint()))
    scheme = Watched(found.scheme)
    return scheme, replace(found, scheme=scheme)  # type: ignore[arg-type]


def delivery(body: bytes) -> Delivery:
    return Delivery("POST", b"/shop/stripe", (), body)


async def refused(verifier: Verifier, to: Served, body: bytes) -> Reason:
    with pytest.raises(RefusedError) as caught:
        await verifier.verify(to, delivery(body), to.keys, 0.0)
    return caught.value.reason


async def test_event_loop_goes_on_while_a_large_body_is_verified() -> None:
    verifier, (scheme, to) = Verifier(), watched()
    verifying = asyncio.create_task(refused(verifier, to, LARGE))
    await until(lambda: scheme.threads)
    assert verifier.waiting == len(LARGE)
    scheme.gate.set()
    assert await verifying is Reason.SIGNATURE_MISSING
    assert scheme.threads[0].startswith("verification")
    assert verifier.waiting == 0
    verifier.close()


async def test_small_body_is_verified_without_a_thread() -> None:
    verifier, (scheme, to) = Verifier(), watched()
    scheme.gate.set()
    assert await refused(verifier, to, b"x" * INLINE) is Reason.SIGNATURE_MISSING
    assert scheme.threads == [threading.current_thread().name]
    verifier.close()


async def test_body_that_would_wait_behind_too_many_is_asked_to_retry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for each in ("MOST_WAITING", "LARGEST_BODY"):
        monkeypatch.setattr(verification, each, 3 * len(LARGE))
    verifier, (scheme, to) = Verifier(), watched()
    waiting = [asyncio.create_task(refused(verifier, to, LARGE)) for _ in range(3)]
    await until(lambda: verifier.waiting == 3 * len(LARGE))
    with pytest.raises(RefusalError) as caught:
        await verifier.verify(to, delivery(LARGE), to.keys, 0.0)
    assert (caught.value.answered.status, caught.value.answered.retry) == (503, True)
    scheme.gate.set()
    assert await asyncio.gather(*waiting) == [Reason.SIGNATURE_MISSING] * 3
    assert verifier.waiting == 0
    verifier.close()


async def test_large_delivery_is_accepted(tmp_path: Path) -> None:
    limits = {"body": 1024 * 1024, "requestsPerSecond": 100}
    async with running_gateway(tmp_path, limits=limits) as at:
        body = b'{"note": "' + b"x" * 900_000 + b'"}'
        assert (await at.sender.sent(body)).status == 200
        assert at.ledger.seen[-1].body == body
        wrong = at.sender.signed(body)
        assert (await at.sender.send(replace(wrong, body=body + b" "))).status == 401
