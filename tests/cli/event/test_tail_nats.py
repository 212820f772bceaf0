"""`troth event tail` on a real NATS: it reads beside the consumers, and takes nothing from them."""

import asyncio
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from nats.js.api import ConsumerConfig

from sandbox.brokers.nats import NatsServer, account_creds
from sandbox.processes import Tether
from tests.brokers.nats.stage import Stage, consume, sent
from tests.cli.event.market import mounts
from tests.cli.running import Ended, troth
from tests.edge.events.trade import CHECKOUT, ORDER, POLICY, TOPIC, Trade
from tests.patience import PATIENCE
from troth.brokers.nats.jwt import Key, Kind
from troth.brokers.nats.rules import inbox_prefix
from troth.cli.event.credentials import nats_files
from troth.cli.event.nats_subject import read_subject
from troth.cli.event.tailing import Reading, Start
from troth.edge.events.bindings import nats as binding
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import Reason, Rejection
from troth.trust.grants import Slot

STREAM = "ORDERS"
DLQ = "prod.orders.v1.dlq"
HOSTILE = "\x1b]0;owned\x07\u202e"


def mounted(nats: Stage, folder: Path, creds: str, inbox: str = "_INBOX") -> Path:
    """Write the Secret of a credential into a folder, as a pod's mount shows it."""
    folder.mkdir(exist_ok=True)
    (folder / "servers").write_text(nats.server.url)
    (folder / "user.creds").write_text(creds)
    (folder / "inbox.prefix").write_text(inbox)
    (folder / "ca.crt").write_text(nats.server.ca())
    return folder


class Tailing:
    """The command with an administrator's credential, and a client that publishes."""

    def __init__(self, nats: Stage, trade: Trade, folder: Path) -> None:
        self.nats, self.trade = nats, trade
        self.credentials = mounted(nats, folder, account_creds("reader", nats.account))

    async def start(self, stream: bool = True) -> None:
        self.witness = await self.nats.witness()
        self.jetstream = self.witness.jetstream(timeout=PATIENCE)
        if stream:
            await self.jetstream.add_stream(name=STREAM, subjects=["prod.>"], storage="memory")

    async def publish(self, sealed: Sealed, **changed: str) -> None:
        await self.jetstream.publish(
            sealed.topic, sealed.data, headers=binding.headers(sealed) | changed
        )

    async def run(self, *more: str, credentials: Path | None = None) -> Ended:
        folder = ("--credentials", str(credentials or self.credentials))
        return await asyncio.to_thread(troth, "event", "tail", *mounts(self.trade), *folder, *more)

    async def documents(self, *more: str) -> list[dict[str, Any]]:
        ended = await self.run("-o", "json", *more)
        assert ended.errors == ""
        found = [json.loads(line) for line in ended.lines]
        assert ended.code == (0 if all(each["accepted"] for each in found) else 1)
        return found


@pytest.fixture
def tailing(nats: Stage, trade: Trade, tmp_path: Path) -> Tailing:
    trade.now = time.time()
    trade.publish(type="nats")
    trade.consume(type="nats", stream=STREAM)
    return Tailing(nats, trade, tmp_path / "broker")


async def test_each_message_of_a_stream_is_shown_with_its_verdict(tailing: Tailing) -> None:
    await tailing.start()
    sealed = tailing.trade.seal(tenant="acme", subject="customer-42")
    await tailing.publish(sealed)
    await tailing.jetstream.publish(TOPIC, b"no event")
    await tailing.publish(sealed, **{"ce-trothtenant": "globex"})
    ended = await tailing.run()
    assert (ended.code, ended.errors) == (1, "")
    first, second, third = ended.lines
    assert first.startswith(f"✓ {TOPIC}@1  ")
    assert "tenant acme" in first
    assert CHECKOUT in first
    assert second.startswith(f"✗ {TOPIC}@2  Unsigned: ")
    assert third.startswith(f"✗ {TOPIC}@3  SignatureInvalid: ")
    assert "A-1" not in ended.output
    assert ORDER.decode() in (await tailing.run("--payload")).output


async def test_messages_are_documents_that_can_be_explained(tailing: Tailing) -> None:
    await tailing.start()
    await tailing.publish(tailing.trade.seal())
    await tailing.jetstream.publish(TOPIC, b"no event")
    for document in await tailing.documents():
        assert "message" not in document
        assert "base64" not in document["data"]
    first, second = await tailing.documents("--payload")
    assert (first["accepted"], first["origin"]) == (True, f"{TOPIC}@1")
    assert (second["accepted"], second["code"]) == (False, "Unsigned")
    given = json.dumps(first["message"]).encode()
    explained = troth("event", "explain", *mounts(tailing.trade), "-o", "json", given=given)
    assert explained.code == 0
    assert "storedAt" in json.loads(explained.output)["message"]


async def test_part_of_a_stream_is_shown(tailing: Tailing) -> None:
    await tailing.start()
    for _ in range(12):
        await tailing.publish(tailing.trade.seal())
    for more, expected in (
        ((), range(3, 13)),
        (("--offset", "-2"), range(11, 13)),
        (("--offset", "start"), range(1, 13)),
        (("--offset", "11"), range(11, 13)),
        (("--offset", "end"), range(0)),
        (("--offset", "99"), range(0)),
        (("--offset", "start", "--limit", "2"), range(1, 3)),
    ):
        found = [each["origin"] for each in await tailing.documents(*more)]
        assert found == [f"{TOPIC}@{number}" for number in expected]


async def test_prefix_shows_all_its_subjects_and_no_other(tailing: Tailing) -> None:
    await tailing.start()
    tailing.trade.consume(type="nats", stream=STREAM, topic=None, prefix="prod.orders.")
    for subject in ("prod.orders.v1", "prod.payments", "prod.orders.v2"):
        await tailing.jetstream.publish(subject, b"no event")
    found = [each["origin"] for each in await tailing.documents()]
    assert found == ["prod.orders.v1@1", "prod.orders.v2@3"]
    narrowed = await tailing.documents("prod.orders.v2")
    assert [each["origin"] for each in narrowed] == ["prod.orders.v2@3"]


async def test_durable_consumer_loses_nothing(tailing: Tailing) -> None:
    await tailing.start()
    config = ConsumerConfig(durable_name="fulfilment", ack_policy="explicit")  # type: ignore[arg-type]
    await tailing.jetstream.add_consumer(STREAM, config)
    await tailing.publish(tailing.trade.seal())
    assert len(await tailing.documents()) == 1
    info = await tailing.jetstream.consumer_info(STREAM, "fulfilment")
    assert (info.num_pending, info.num_ack_pending) == (1, 0)
    assert (await tailing.jetstream.stream_info(STREAM)).state.consumer_count == 1


async def test_further_messages_are_followed(tailing: Tailing) -> None:
    await tailing.start()
    await tailing.publish(tailing.trade.seal())
    running = asyncio.create_task(
        tailing.documents("--follow", "--limit", "3", "--offset", "start")
    )
    while (await tailing.jetstream.stream_info(STREAM)).state.consumer_count == 0:  # noqa: ASYNC110 - a count
        await asyncio.sleep(0.01)
    await tailing.publish(tailing.trade.seal())
    await tailing.jetstream.publish(TOPIC, b"no event")
    found = await asyncio.wait_for(running, PATIENCE)
    assert [each["accepted"] for each in found] == [True, True, False]


async def test_reading_ends_at_the_end_that_it_found(
    tailing: Tailing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each message that is shown causes a further one, as a busy producer would."""
    monkeypatch.setattr("troth.cli.event.nats_subject._BATCH", 1)
    await tailing.start()
    loop, shown = asyncio.get_running_loop(), []

    def show(message: Message) -> bool:
        shown.append(message.offset)
        again = tailing.jetstream.publish(TOPIC, b"a further one")
        asyncio.run_coroutine_threadsafe(again, loop).result(PATIENCE)
        return len(shown) < 5

    for _ in range(2):
        await tailing.jetstream.publish(TOPIC, b"no event")
    reading = Reading(TOPIC, prefix=False, start=Start(0), follow=False, name="reader")
    await asyncio.to_thread(read_subject, nats_files(tailing.credentials), STREAM, reading, show)
    assert shown == [1, 2]


async def test_following_ends_with_ctrl_c(tailing: Tailing) -> None:
    await tailing.start()
    await tailing.publish(tailing.trade.seal())
    command = [*mounts(tailing.trade), "--credentials", str(tailing.credentials), "--follow"]
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "troth.cli", "event", "tail", *command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert running.stdout is not None
    async with asyncio.timeout(PATIENCE):
        assert (await running.stdout.readline()).startswith("✓ ".encode())
        running.send_signal(signal.SIGINT)
        output, errors = await running.communicate()
    assert (running.returncode, output, errors) == (130, b"", b"")


async def test_subject_without_a_stream_shows_what_comes(tailing: Tailing) -> None:
    await tailing.start(stream=False)
    tailing.trade.consume(type="nats", stream=None)
    ended = await tailing.run()
    assert ended.code == 2
    assert "--follow" in ended.errors
    running = asyncio.create_task(tailing.documents("--limit", "2"))
    sealed = tailing.trade.seal()
    while not running.done():  # until it has subscribed
        await tailing.witness.publish(sealed.topic, sealed.data, headers=binding.headers(sealed))
        await sent(tailing.witness)
        await asyncio.sleep(0.01)
    assert [each["origin"] for each in running.result()] == [TOPIC, TOPIC]


async def test_dead_letters_say_why_and_whether_that_still_holds(tailing: Tailing) -> None:
    await tailing.start()
    trade = tailing.trade
    sealed = trade.seal()
    message = binding.read(TOPIC, binding.headers(sealed), sealed.data, sequence=7)
    letters = DeadLetters(trade.identity(trade.fulfilment), POLICY, clock=trade.clock)
    rejection = Rejection(Reason.PRODUCER_NOT_GRANTED, f"checkout has no grant{HOSTILE}")
    letter = letters.seal(message, rejection, attempts=1)
    assert letter is not None
    await tailing.publish(letter)
    (document,) = await tailing.documents("--dead-letters", "--stream", STREAM)
    assert document["accepted"] is True
    assert document["deadLetter"]["origin"] == f"{TOPIC}@7"
    ended = await tailing.run("--dead-letters", "--stream", STREAM)
    assert f"dead letter of {TOPIC}@7, ProducerNotGranted: checkout has no grant" in ended.output
    assert ended.output.endswith("opened now: accepted\n")
    assert not {*HOSTILE} & {"\x1b", "\x07", "\u202e"} & {*ended.output}
    trade.consume(type="nats", stream=STREAM, producers=[])
    ended = await tailing.run("--dead-letters", "--stream", STREAM)
    assert ended.code == 1
    assert ended.output.endswith("opened now: ProducerNotGranted\n")


async def test_hostile_message_neither_stops_nor_controls_the_output(tailing: Tailing) -> None:
    """A stored header `Status` looks like one of the server to the client library."""
    await tailing.start()
    sealed = tailing.trade.seal()
    for status in ("100", "404", "409", "503"):
        await tailing.jetstream.publish(TOPIC, b"", headers={"Status": status})
    await tailing.publish(sealed, **{"ce-type": HOSTILE.replace("\x07", ""), "Status": "404"})
    await tailing.jetstream.publish(TOPIC, HOSTILE.encode())
    await tailing.publish(sealed)
    found = await tailing.documents("--payload")
    assert [each["origin"].rpartition("@")[2] for each in found] == [*"1234567"]
    ended = await tailing.run("--payload")
    assert not {*HOSTILE} & {"\x1b", "\x07", "\u202e"} & {*ended.output}


async def test_consumers_own_credential_cannot_read_beside_it(
    tailing: Tailing, nats: Stage, tmp_path: Path
) -> None:
    await tailing.start()
    await nats.give(["shop"], consume("shop", TOPIC, "fulfilment", STREAM))
    creds = nats.creds["shop", Slot.FIRST]
    folder = mounted(nats, tmp_path / "own", creds, inbox_prefix("shop"))
    ended = await tailing.run(credentials=folder)
    assert (ended.code, ended.output) == (2, "")
    assert "NATS does not allow the user to read this" in ended.errors


async def test_unusable_broker_is_named(tailing: Tailing, nats: Stage, tmp_path: Path) -> None:
    await tailing.start()
    stranger = mounted(nats, tmp_path / "s", account_creds("x", Key.generate(Kind.ACCOUNT)))
    wrong = mounted(nats, tmp_path / "w", "no credential")
    closed = mounted(nats, tmp_path / "c", account_creds("reader", nats.account))
    (closed / "servers").write_text("tls://127.0.0.1:1")
    untrusted = mounted(nats, tmp_path / "u", account_creds("reader", nats.account))
    (untrusted / "ca.crt").unlink()
    nobody = mounted(nats, tmp_path / "n", account_creds("reader", nats.account))
    (nobody / "servers").unlink()
    for folder, sentence in (
        (stranger, "NATS rejects the credential"),
        (wrong, "user.creds is "),
        (closed, "NATS does not answer"),
        (untrusted, "the certificate of NATS is not from a trusted authority"),
        (nobody, "servers: No such file"),
    ):
        ended = await tailing.run(credentials=folder)
        assert (ended.code, ended.output) == (2, ""), folder
        assert sentence in ended.errors
        assert "Traceback" not in ended.errors
    missing = await tailing.run("--stream", "NOWHERE")
    assert missing.code == 2
    assert "NATS has no stream NOWHERE" in missing.errors
    assert (await tailing.run("--partition", "0")).code == 2
    assert (await tailing.run("--offset", "yesterday")).code == 2


class WithoutTLS(NatsServer):
    """A server that offers no TLS."""

    def _configuration(self) -> str:
        document: dict[str, Any] = json.loads(super()._configuration())
        del document["tls"]
        return json.dumps(document)


async def test_nothing_is_signed_without_tls(tailing: Tailing, nats: Stage, tmp_path: Path) -> None:
    directory = tmp_path / "server"
    directory.mkdir()
    with Tether(directory) as tether:
        server = WithoutTLS(tether, directory)
        server.start()
        creds = account_creds("reader", server.keys.application)
        folder = mounted(nats, tmp_path / "plain", creds)
        (folder / "servers").write_text(f"nats://{server.address}")
        ended = await tailing.run(credentials=folder)
    assert (ended.code, ended.output) == (2, "")
    assert "offers no TLS" in ended.errors
