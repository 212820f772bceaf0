"""Random bytes: nothing unsigned is accepted, and honest senders are served afterwards."""

import asyncio
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.patience import PATIENCE
from tests.webhooks.gateway.attacks.scene import BODY, Scene, delivery, gateway, signed
from tests.webhooks.gateway.attacks.wire import Answers, chunked, head
from troth.edge.inbound.connections import timed

POST = b"POST /shop/orders HTTP/1.1"
WRONG = [*signed()[:2], b"webhook-signature: v1," + b"A" * 43 + b"="]
"""All that a delivery needs, but the signature is nobody's."""

LINES = st.sampled_from(
    [
        POST,
        b"POST /shop/orders HTTP/1.0",
        b"GET /shop/orders?a=b HTTP/1.1",
        b"POST http://x/shop/orders HTTP/1.1",
        b"POST /shop/../shop/orders HTTP/1.1",
    ]
)
FIELDS = st.one_of(
    st.sampled_from(
        [
            b"Transfer-Encoding: chunked",
            b"Transfer-Encoding: identity",
            b"Content-Length: %d" % len(BODY),
            b"Content-Length: 0",
            b"Content-Encoding: gzip",
            b"Connection: close",
            b"Connection: upgrade",
            b"Upgrade: h2c",
            b"Expect: 100-continue",
            b"Host: y",
            b"webhook-id: msg_2",
            b" folded",
        ]
    ),
    st.binary(max_size=20),
)
BODIES = st.one_of(
    st.just(BODY),
    st.just(chunked(BODY)),
    st.just(chunked(BODY, trailer=signed())),
    st.just(BODY + head(POST, *WRONG)),
    st.binary(max_size=60),
)


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Something like a delivery, put together anyhow, and then spoiled here and there."""
    fields = draw(st.permutations([*WRONG, *draw(st.lists(FIELDS, max_size=4))]))
    said = bytearray(head(draw(LINES), *fields) + draw(BODIES))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(said)))
        said[place : place + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(said)


class Beside:
    """A gateway in a thread with a loop of its own, for tests that are no coroutines."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.ready, self.over = threading.Event(), asyncio.Event()
        self.scene: Scene
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=[self._run()])

    async def _run(self) -> None:
        async with gateway() as self.scene:
            self.ready.set()
            await self.over.wait()

    def hears(self, *parts: bytes) -> Answers:
        return asyncio.run_coroutine_threadsafe(self.scene.hears(*parts), self.loop).result(
            PATIENCE
        )


@pytest.fixture(scope="module")
def beside() -> Iterator[Beside]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timed, "REQUEST_WITHIN", 0.15)
        made = Beside()
        made.thread.start()
        assert made.ready.wait(PATIENCE)
        yield made
        made.loop.call_soon_threadsafe(made.over.set)
        made.thread.join(PATIENCE)
        made.loop.close()


def unmoved(beside: Beside, heard: Answers) -> None:
    assert not [status for status in heard.statuses if 200 <= status < 300], heard.raw
    assert 500 not in heard.statuses
    assert beside.scene.target.received == []


@given(st.binary(max_size=200))
def test_random_bytes_leave_the_gateway_intact(beside: Beside, said: bytes) -> None:
    unmoved(beside, beside.hears(said))


@given(messages())
def test_random_deliveries_leave_the_gateway_intact(beside: Beside, said: bytes) -> None:
    unmoved(beside, beside.hears(said))


@given(messages(), st.lists(st.integers(1, 200), max_size=4))
def test_random_pieces_leave_the_gateway_intact(
    beside: Beside, said: bytes, cuts: list[int]
) -> None:
    places = [0, *sorted(cuts), len(said)]
    unmoved(beside, beside.hears(*(said[a:b] for a, b in pairwise(places))))


def test_honest_sender_is_served_during_the_fuzzing(beside: Beside) -> None:
    assert beside.hears(delivery()).status == 200
    beside.scene.target.received.clear()
