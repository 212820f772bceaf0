"""An attack on a running gateway with a real target, and its observed result."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

import uvicorn
from structlog.testing import capture_logs

from tests.webhooks.gateway.attacks.scene import delivery, port_of
from tests.webhooks.gateway.attacks.wire import Answers, eventually, send_parts
from tests.webhooks.gateway.running import RunningGateway, Sender, head_of, running_gateway
from troth.edge.inbound.asgi import Receive, Scope, Send
from troth.webhooks.schemes.delivery import Delivery

POST = b"POST /shop/orders HTTP/1.1"


@dataclass
class Stage:
    """A gateway that is attacked, and what its attacker hears."""

    tmp: Path
    at: RunningGateway
    logs: list[Any]
    refused: list[str]
    heard: list[str] = field(default_factory=list)

    @property
    def sender(self) -> Sender:
        return self.at.sender

    async def say(self, *parts: bytes, leave: bool = False) -> None:
        """Say something on a connection of its own."""
        port = int(self.at.url.rpartition(":")[2])
        heard = await send_parts(port, *parts, leave=leave)
        self.heard.append("none" if leave else outcome_of(heard))

    async def send(self, delivery: Delivery, *more: tuple[str, str]) -> None:
        """Send a delivery as it is, with more headers."""
        await self.say(head_of(delivery, *more, length=len(delivery.body)) + delivery.body)

    def reasons(self) -> list[str]:
        """Why, in the words of the log, and of the metrics where the log has no line."""
        lines = [line["reason"] for line in self.logs if line["event"] == "delivery"]
        counted = [
            (sample.labels["reason"], int(sample.value))
            for metric in self.at.gateway._decisions.registry.collect()
            for sample in metric.samples
            if sample.name == "troth_gateway_deliveries_total" and not sample.labels["endpoint"]
        ]
        unlogged = [reason for reason, times in counted for _ in range(times)]
        return [each for each in (*self.refused, *unlogged, *lines) if each]


Act = Callable[[Stage], Awaitable[str | None]]
"""What is done; returns what is worth saying of what the target saw."""


Setting = Callable[[ExitStack, Path], Mapping[str, Any]]
"""Arguments of `running_gateway`; servers started beside it stop with the stack."""


@dataclass(frozen=True)
class Attack:
    """An attack, and the gateway that it is tried on."""

    name: str
    act: Act
    setting: Setting


class Attacks(dict[str, Attack]):
    """Attacks by their names, in the table's order."""

    titles = ("attack", "answers", "reason", "reached")

    def enter(
        self, name: str, setting: Setting | None = None, **fixed: Any
    ) -> Callable[[Act], Act]:
        """Enter into the table what is done, and to which gateway."""

        def entered(act: Act) -> Act:
            self[name] = Attack(name, act, setting or (lambda _stack, _tmp: fixed))
            return act

        return entered


async def observed(attack: Attack, tmp: Path) -> list[str]:
    """Try it on a gateway of its own: its row of the table."""
    refused: list[str] = []
    with ExitStack() as stack, capture_logs() as logs:
        setting = attack.setting(stack, tmp)
        async with running_gateway(tmp, on_refused=refused.append, **setting) as at:
            stage = Stage(tmp, at, logs, refused)
            note = await attack.act(stage)
            await eventually(lambda: not at.server.server_state.tasks)
            answers = [*_counted(stage.heard)]
            reasons = [f"`{each}`" for each in sorted(set(stage.reasons()))]
            reached = [str(len(at.ledger.seen)), *([note] if note else [])]
    return [attack.name, ", ".join(answers), ", ".join(reasons), ", ".join(reached)]


def outcome_of(heard: Answers) -> str:
    """What was heard on one connection, in a word or two."""
    if not heard.statuses:
        return "cut" if heard.ended else "waits"
    return " ".join(map(str, heard.statuses)) + (" and closed" if heard.ended else "")


def _counted(words: Iterable[str]) -> Iterable[str]:
    for word, same in groupby(words):
        times = len(list(same))
        yield word if times == 1 else f"{times} x {word}"


def table(titles: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Rows as Markdown has them."""
    titles = list(titles)
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# uvicorn as it is


class Quiet(uvicorn.Server):
    """Signals are the test run's."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def bare() -> AsyncIterator[int]:
    """Yield the port of uvicorn as it is, with an application that takes everything."""

    async def take(_: Scope, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request" and message["more_body"]:
            pass
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    config = uvicorn.Config(
        take, "127.0.0.1", 0, http="httptools", ws="none", lifespan="off", log_config=None
    )
    server = Quiet(config)
    serving = asyncio.create_task(server.serve())
    await eventually(lambda: server.started)
    try:
        yield port_of(server)
    finally:
        server.should_exit = server.force_exit = True
        await serving


async def answers_of_bare(port: int, *parts: bytes) -> str:
    """What it answers by the time that others, who have asked later, were answered twice."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    raw = b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
            raw += await _answered_meanwhile(reader, port)
        while more := await _answered_meanwhile(reader, port):
            raw += more
    except ConnectionError:
        pass
    finally:
        writer.close()
    return " ".join(map(str, Answers(raw, ended=False).statuses)) or "waits"


async def _answered_meanwhile(reader: asyncio.StreamReader, port: int) -> bytes:
    for _ in range(2):
        assert (await send_parts(port, delivery(POST, b"Connection: close"))).status == 200
    try:
        async with asyncio.timeout(0.01):
            return await reader.read(65536)
    except TimeoutError:
        return b""
