"""The link between the supervisor and a worker."""

import asyncio
import socket

import pytest
from prometheus_client import CollectorRegistry

from troth.serving.workers.link import Link


@pytest.mark.parametrize("asked", [b"", b"1 state\n"], ids=["idle", "asked"])
async def test_worker_notices_the_end_of_its_supervisor(asked: bytes) -> None:
    """A supervisor that ends with an answer unread resets the link."""
    kept, given = socket.socketpair()
    lost, answered = asyncio.Event(), asyncio.Event()

    def ready() -> bool:
        answered.set()
        return True

    answering = asyncio.create_task(
        Link(1, given).answer(ready=ready, registry=CollectorRegistry(), on_lost=lost.set)
    )
    if asked:
        kept.sendall(asked)
        await answered.wait()
        await asyncio.sleep(0)  # the answer is written and not read
    kept.close()
    await answering
    assert lost.is_set()


async def test_worker_notices_that_its_answer_cannot_be_sent() -> None:
    kept, given = socket.socketpair()
    lost = asyncio.Event()
    kept.sendall(b"1 state\n2 state\n")
    kept.close()
    await Link(1, given).answer(ready=lambda: True, registry=CollectorRegistry(), on_lost=lost.set)
    assert lost.is_set()
