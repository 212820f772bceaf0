"""Raw bytes on a socket, and the answer."""

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.patience import PATIENCE

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
CRLF = b"\r\n"


@dataclass(frozen=True)
class Answers:
    """What a server said on one connection, and whether it ended the connection."""

    raw: bytes
    ended: bool

    @property
    def statuses(self) -> list[int]:
        return [int(each) for each in _STATUS.findall(self.raw)]

    @property
    def status(self) -> int:
        """The only answer's status; 0 where there was none."""
        assert len(self.statuses) <= 1, self.raw
        return self.statuses[0] if self.statuses else 0


async def send_parts(port: int, *parts: bytes, leave: bool = False) -> Answers:
    """Send parts, each in a segment of its own, and listen until the answers are complete.

    A connection that the server leaves open is listened to until nothing more comes. With `leave`
    nothing is waited for: the sender goes.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for index, part in enumerate(parts):
            if index:
                await asyncio.sleep(0.01)
            writer.write(part)
            await writer.drain()
        if leave:
            return Answers(b"", ended=False)
        return await listen(reader)
    except ConnectionError:
        return Answers(b"", ended=True)
    finally:
        writer.close()


async def listen(reader: asyncio.StreamReader) -> Answers:
    """Return what is said, until the connection ends or an answer was kept open after."""
    raw = b""
    try:
        async with asyncio.timeout(PATIENCE):
            while True:
                part = await _close_gracefully(reader, patient=not _whole(raw))
                if part is None:
                    return Answers(raw, ended=False)
                if not part:
                    return Answers(raw, ended=True)
                raw += part
    except ConnectionError:
        return Answers(raw, ended=True)


async def _close_gracefully(reader: asyncio.StreamReader, *, patient: bool) -> bytes | None:
    try:
        async with asyncio.timeout(PATIENCE if patient else 0.1):
            return await reader.read(65536)
    except TimeoutError:
        if patient:
            raise
        return None


def _whole(raw: bytes) -> bool:
    """Whether a final answer is there; none of the gateway's has a body."""
    said = _STATUS.findall(raw)
    return raw.endswith(CRLF * 2) and bool(said) and int(said[-1]) >= 200


async def eventually(holds: Callable[[], object]) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - what is waited for is not a task's
            await asyncio.sleep(0.005)


def head(
    line: bytes = b"POST /shop/orders HTTP/1.1", *headers: bytes, host: bytes | None = b"hooks"
) -> bytes:
    """A request's head as it is written, with a Host unless there is to be none."""
    fields = [*([b"Host: " + host] if host is not None else []), *headers]
    return CRLF.join([line, *fields]) + CRLF * 2


def chunked(body: bytes, *, trailer: Sequence[bytes] = (), last: bool = True) -> bytes:
    """A body in one chunk."""
    whole = b"%x\r\n%b\r\n" % (len(body), body)
    return whole + (b"0\r\n" + b"".join(each + CRLF for each in trailer) + CRLF if last else b"")
