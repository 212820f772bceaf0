"""Nothing is sent to a target after the time of a delivery, for which alone its claim lasts."""

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.edge import shop
from tests.edge.loopback import ReceivedRequest, Reply
from tests.patience import PATIENCE
from tests.webhooks.gateway.forwarding.test_client import refused, to_ledger
from troth.edge.outbound.driving import Async
from troth.webhooks.gateway.forwarding import pool
from troth.webhooks.gateway.forwarding.client import TargetClient

WITHIN = PATIENCE


@pytest.fixture
async def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the time of a delivery pass on the clock of the event loop."""
    loop = asyncio.get_running_loop()
    clock, passed = loop.time, 0.0

    def wait() -> None:
        nonlocal passed
        passed += WITHIN

    monkeypatch.setattr(loop, "time", lambda: clock() + passed)
    for name in ("CONNECT_WITHIN", "IDLE"):
        monkeypatch.setattr(pool, name, 10 * WITHIN)
    return wait


@pytest.mark.parametrize("returns", [False, True], ids=["hangs", "returns"])
async def test_delivery_is_not_sent_again_after_its_time(
    returns: bool,
    wait: Callable[[], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    again = Async.again

    async def late(self: Any, ready: Any, challenges: Any) -> Any:
        found = await again(self, ready, challenges)
        wait()
        if not returns:
            await asyncio.Event().wait()
        return found

    monkeypatch.setattr(Async, "again", late)
    with shop.opened(tmp_path) as here:
        here.ledger.respond = lambda _: Reply(401, (shop.INVALID,))
        error = await refused(TargetClient(here.identity(), within=WITHIN), to_ledger(here))
        assert (error.reason, error.may_have_acted) == ("too-slow", False)
        assert len(here.ledger.seen) == 1


@pytest.mark.parametrize("attempt", [1, 2])
async def test_connection_that_comes_too_late_is_not_used(
    attempt: int, wait: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, attempts = pool.Pool._connect, 0

    async def late(self: pool.Pool) -> Any:
        nonlocal attempts
        attempts += 1
        if attempts == attempt:
            wait()
            await asyncio.Event().wait()
        return await connect(self)

    monkeypatch.setattr(pool.Pool, "_connect", late)
    with shop.opened(tmp_path) as here:
        here.ledger.respond = lambda _: Reply(401, (shop.INVALID, ("Connection", "close")))
        error = await refused(TargetClient(here.identity(), within=WITHIN), to_ledger(here))
        assert (error.reason, error.may_have_acted) == ("too-slow", False)
        assert len(here.ledger.seen) == attempt - 1


async def test_late_answer_to_the_second_request_may_belong_to_an_effect(
    wait: Callable[[], None], tmp_path: Path
) -> None:
    late = threading.Event()
    with shop.opened(tmp_path) as here:

        def respond(_: ReceivedRequest) -> Reply:
            if len(here.ledger.seen) == 1:
                return Reply(401, (shop.INVALID,))
            wait()
            late.wait(PATIENCE)
            return Reply(204)

        here.ledger.respond = respond
        error = await refused(TargetClient(here.identity(), within=WITHIN), to_ledger(here))
        late.set()
        assert (error.reason, error.may_have_acted) == ("too-slow", True)
