"""Slow senders, disconnects, and the stop of a gateway."""

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator

import pytest

from tests.patience import PATIENCE
from tests.webhooks.gateway.attacks.scene import BODY, Scene, delivery, gateway, serving, signed
from tests.webhooks.gateway.attacks.wire import Answers, chunked, eventually, head, listen
from troth.edge.inbound.asgi import Receive, Send
from troth.edge.inbound.asgi import Scope as AsgiScope
from troth.edge.inbound.connections import handshakes, timed
from troth.edge.inbound.connections.limits import ConnectionLimits
from troth.serving import connection as connections
from troth.serving import http_server

POST = b"POST /shop/orders HTTP/1.1"
WHOLE = delivery()
HEAD = WHOLE[: -len(BODY)]
IN_CHUNKS = head(POST, *signed(), b"Transfer-Encoding: chunked")


@pytest.fixture
async def hasty(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """A gateway that waits for a request for a fraction of a second."""
    monkeypatch.setattr(timed, "REQUEST_WITHIN", 0.3)
    async with gateway() as running:
        yield running


@pytest.mark.parametrize(
    "said",
    [b"", b"POST /shop", HEAD[:-2], HEAD, HEAD + BODY[:-1], IN_CHUNKS, IN_CHUNKS + b"f\r\n"],
    ids=["nothing", "half a line", "half a head", "a head", "half a body", "chunks", "a chunk"],
)
async def test_incomplete_request_times_out(hasty: Scene, said: bytes) -> None:
    heard = await hasty.hears(said)
    assert heard == Answers(b"", ended=True)
    assert hasty.target.received == []


@pytest.mark.parametrize("whole", [WHOLE, IN_CHUNKS + chunked(BODY)], ids=["length", "chunks"])
async def test_slow_request_times_out(hasty: Scene, whole: bytes) -> None:
    """Each byte is in time; the request is not."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    listening = asyncio.create_task(listen(reader))
    for byte in whole:
        if listening.done():
            break
        writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
    assert (await listening).ended
    writer.close()
    assert hasty.target.received == []


async def test_connection_with_only_empty_lines_times_out(hasty: Scene) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    writer.write(WHOLE)
    assert (await listen(reader)).status == 200
    listening = asyncio.create_task(listen(reader))
    while not listening.done():
        writer.write(b"\r\n")
        await asyncio.sleep(0.02)
    assert (await listening).raw == b""
    writer.close()


async def test_connection_may_be_idle_between_requests(hasty: Scene) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty.port)
    for number in range(2):
        writer.write(delivery(message=f"msg_{number}"))
        assert (await listen(reader)).status == 200
        await asyncio.sleep(0.6)
    writer.close()


async def test_idle_connection_times_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "IDLE", 0.2)
    async with gateway() as scene:
        reader, writer = await asyncio.open_connection("127.0.0.1", scene.port)
        writer.write(WHOLE)
        assert not (await listen(reader)).ended
        async with asyncio.timeout(PATIENCE):
            assert await reader.read() == b""
        writer.close()


async def test_time_at_the_target_does_not_count(hasty: Scene) -> None:
    hasty.target.open.clear()
    waiting = asyncio.create_task(hasty.hears(WHOLE))
    await asyncio.sleep(0.8)
    hasty.target.open.set()
    assert (await waiting).status == 200


async def test_empty_line_after_a_request_does_not_extend_the_limit(hasty: Scene) -> None:
    """Old clients send one after a body; RFC 9112 section 2.2."""
    hasty.target.open.clear()
    waiting = asyncio.create_task(hasty.hears(WHOLE, b"\r\n"))
    await asyncio.sleep(0.8)
    hasty.target.open.set()
    assert (await waiting).status == 200


async def test_connection_ends_after_its_lifetime() -> None:
    async with gateway(lifetime=0.0) as scene:
        heard = await scene.hears(WHOLE)
        assert (heard.status, heard.ended) == (200, True)
        assert b"connection: close" in heard.raw


async def test_connection_that_should_have_ended_is_aborted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "GRACE", 0.2)
    async with gateway(lifetime=0.1) as scene:
        scene.target.open.clear()
        assert await scene.hears(WHOLE) == Answers(b"", ended=True)
        scene.target.open.set()


async def test_client_with_all_connections_does_not_block_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with gateway(limits=ConnectionLimits(connections=8)) as scene:
        scene.target.open.clear()
        said = [delivery(message=f"busy_{number}") for number in range(6)]
        busy = [asyncio.create_task(scene.hears(each)) for each in said]
        await eventually(lambda: len(scene.target.received) == len(busy))
        held = [await asyncio.open_connection("127.0.0.1", scene.port) for _ in range(20)]
        for number, (_, writer) in enumerate(held):
            if number % 2:  # half of them have asked for something once
                writer.write(b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await asyncio.sleep(0.1)
        scene.target.open.set()
        assert [(await each).status for each in busy] == [200] * len(busy)
        for number in range(10):
            assert (await scene.hears(delivery(message=f"msg_{number}"))).status == 200
        for _, writer in held:
            writer.close()


@pytest.mark.parametrize("said", [b"POST /shop", HEAD + BODY[:-1]], ids=["a head", "a body"])
async def test_client_with_many_partial_requests_does_not_block_others(
    said: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway(limits=ConnectionLimits(connections=8)) as scene:
        held = [await asyncio.open_connection("127.0.0.1", scene.port) for _ in range(20)]
        for _, writer in held:
            writer.write(said)
        for number in range(10):
            assert (await scene.hears(delivery(message=f"msg_{number}"))).status == 200
        assert "no-room" in scene.refused
        for _, writer in held:
            writer.close()


async def test_request_without_free_connection_is_asked_to_retry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with gateway(limits=ConnectionLimits(connections=4)) as scene:
        scene.target.open.clear()
        said = [delivery(message=f"busy_{number}") for number in range(4)]
        busy = [asyncio.create_task(scene.hears(each)) for each in said[:3]]
        await eventually(lambda: len(scene.target.received) == len(busy))
        heard = await scene.hears(said[3])
        assert heard.status == 503
        assert b"\r\nRetry-After: 10\r\n" in heard.raw
        assert scene.refused == ["busy"]
        scene.target.open.set()
        assert [(await each).status for each in busy] == [200] * 3
        assert (await scene.hears(said[3])).status == 200


async def test_total_size_of_partial_bodies_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for each in ("MOST_BODIES", "LARGEST_BODY"):
        monkeypatch.setattr(http_server, each, 200_000)
    async with gateway() as scene:
        part = head(POST, *signed(), b"Content-Length: 50001") + b"x" * 50_000
        held, under_way = [], scene.server._admitting.open_requests
        for _ in range(10):
            held.append(await asyncio.open_connection("127.0.0.1", scene.port))
            held[-1][1].write(part)
            await eventually(lambda: len(scene.refused) + under_way.bodies // 50_000 >= len(held))
        ended = [asyncio.create_task(reader.read()) for reader, _ in held]
        await eventually(lambda: sum(each.done() for each in ended) == 6)
        assert [each.done() for each in ended] == [True] * 6 + [False] * 4
        assert (await scene.hears(delivery())).status == 200
        for _, writer in held:
            writer.close()
        await asyncio.gather(*ended, return_exceptions=True)
        await eventually(lambda: under_way.bodies == 0)


# Who goes


@pytest.mark.parametrize(
    "said",
    [
        HEAD,
        HEAD + BODY[:-1],
        IN_CHUNKS + chunked(BODY, last=False),
        IN_CHUNKS + chunked(BODY, last=False) + b"0\r\n",
        IN_CHUNKS + chunked(BODY, last=False) + b"0\r\n\r",
    ],
    ids=[
        "before the body",
        "a byte short",
        "before the last chunk",
        "within it",
        "a byte short of",
    ],
)
async def test_disconnect_before_the_end_sends_nothing(scene: Scene, said: bytes) -> None:
    """An abort, and not a short body: the body that has come may be just what is signed."""
    await scene.hears(said, leave=True)
    await _all_gone(scene)
    assert scene.target.received == []
    assert (await scene.hears(WHOLE)).status == 200
    assert len(scene.target.received) == 1


async def test_rejection_while_the_body_is_read_counts_as_disconnect(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At once, though the connection is still there so that the refusal is read."""
    monkeypatch.setattr(handshakes, "LINGER", 600.0)
    told = asyncio.Queue[str]()

    async def reads(_: AsgiScope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            await told.put(message["type"])
        await told.put(message["type"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async with serving(reads) as server, asyncio.timeout(PATIENCE):
        port = server.servers[0].sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(IN_CHUNKS + chunked(BODY, last=False))
        assert await told.get() == "http.request"
        writer.write(b"rubbish\r\n")
        assert await told.get() == "http.disconnect"
        assert (await listen(reader)).statuses == [400]
        writer.close()


async def test_disconnect_before_the_answer_delivers_once(scene: Scene) -> None:
    scene.target.open.clear()
    await scene.hears(WHOLE, leave=True)
    await _all_gone(scene)
    scene.target.open.set()
    assert (await scene.hears(WHOLE)).status in {200, 503}
    assert (await scene.hears(WHOLE)).status == 200
    assert len(scene.target.received) == 1


async def _all_gone(scene: Scene) -> None:
    await asyncio.sleep(0.05)
    await eventually(lambda: not scene.server.server_state.connections)


async def test_early_answer_arrives_while_the_sender_still_sends(scene: Scene) -> None:
    """Without reading on, the system would reset the connection and the answer be lost."""
    too_long = head(POST, *signed(), b"Content-Length: 3000000")
    heard = await scene.hears(too_long, b"x" * 1_500_000, b"x" * 1_500_000)
    assert (heard.statuses, heard.ended) == ([413], True)


# A gateway that stops


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "LAST_CALL", 0.5)


@pytest.mark.usefixtures("soon")
async def test_request_present_at_the_stop_is_answered(scene: Scene) -> None:
    scene.target.open.clear()
    waiting = asyncio.create_task(scene.hears(WHOLE))
    begun, writer = await asyncio.open_connection("127.0.0.1", scene.port)
    writer.write(delivery(message="msg_2")[:-1])
    await eventually(lambda: scene.target.received)
    port = scene.port
    scene.server.stop()
    await asyncio.sleep(0.3)
    with pytest.raises(OSError, match="Connect call failed"):
        await asyncio.open_connection("127.0.0.1", port)
    writer.write(BODY[-1:])
    scene.target.open.set()
    for heard in (await waiting, await listen(begun)):
        assert (heard.status, heard.ended) == (200, True)
    assert len(scene.target.received) == 2
    writer.close()


@pytest.mark.usefixtures("soon")
async def test_request_on_its_way_at_the_stop_is_answered(scene: Scene) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.port)
    writer.write(WHOLE)
    first = await listen(reader)
    assert not first.ended
    scene.server.stop()
    await asyncio.sleep(0.3)
    writer.write(delivery(message="msg_2"))
    last = await listen(reader)
    assert (last.status, last.ended) == (200, True)
    assert b"connection: close" in last.raw
    writer.close()


@pytest.mark.parametrize("left", [1, len(BODY) + 9], ids=["half a body", "half a head"])
async def test_partial_request_at_the_end_of_the_drain_is_answered(
    scene: Scene, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LAST_CALL", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.port)
    writer.write(WHOLE[:-left])
    await asyncio.sleep(0.1)
    scene.server.stop()
    await asyncio.sleep(0.5)
    writer.write(WHOLE[-left:])
    assert (await listen(reader)).statuses == [200]
    writer.close()


@pytest.mark.usefixtures("soon")
async def test_idle_connections_do_not_delay_the_stop(scene: Scene) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.port)
    writer.write(WHOLE)
    assert not (await listen(reader)).ended
    scene.server.stop()
    assert await listen(reader) == Answers(b"", ended=True)
    writer.close()


async def test_ended_connection_is_freed_without_the_garbage_collector(
    scene: Scene,
) -> None:
    """It looks seldom: of thousands of connections that came and went much would be held."""
    reader, writer = await asyncio.open_connection("127.0.0.1", scene.port)
    writer.write(WHOLE)
    assert (await listen(reader)).status == 200
    (connection,) = map(weakref.ref, scene.server.server_state.connections)
    gc.disable()
    try:
        writer.close()
        await eventually(lambda: connection() is None)
    finally:
        gc.enable()
