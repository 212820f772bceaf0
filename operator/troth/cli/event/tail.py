"""`troth event tail`: reads a topic beside its consumers, and opens each message."""

from dataclasses import dataclass
from pathlib import Path
from time import time

import typer

from troth.cli.event import portable
from troth.cli.event.credentials import kafka_properties, nats_files
from troth.cli.event.mounts import Mounted, consumed
from troth.cli.event.session import Session
from troth.cli.event.tail_render import line_document, show_line
from troth.cli.event.tailing import Reading, Start, TailError
from troth.cli.extras import needs_extra
from troth.cli.inputs.single import fault
from troth.cli.output import Output, console
from troth.documents.client_name import client_name
from troth.documents.identity.document import Messages
from troth.edge.events.message import Message

_GROUP = "troth-event-tail"
"""Group ID of a client without a granted group. librdkafka needs one, and nobody joins it."""


@dataclass(frozen=True, slots=True)
class TailOptions:
    """Options of the command."""

    topic: str | None
    dead_letters: bool
    offset: str
    partition: int | None
    stream: str | None
    limit: int | None
    follow: bool
    policy: str | None
    group: str | None
    payload: bool
    output: Output


class Tail:
    """One run of the command."""

    def __init__(self, asked: TailOptions, mount: Mounted, broker: Path) -> None:
        """Choose the policy; `broker` has the credential. Raises `FaultyManifests`."""
        self._asked = asked
        self._broker = broker
        self._mount = mount
        topic = None if asked.dead_letters else asked.topic
        choice = consumed(self._mount.snapshot, topic, asked.policy, asked.group)
        rights = choice.consumed(self._mount.snapshot)
        if rights is None:
            raise fault(
                "--policy",
                f"{self._mount.snapshot.spiffe_id} has no grant to consume by {choice.policy}, or "
                "several groups; name another policy, or one --group",
            )
        self._entry: Messages = rights.granted
        self._binding = portable.binding_of(self._entry.type)
        self._session = Session(self._mount, choice, time)
        self._console = console(wrap=False)
        self._shown = 0
        self._rejected = False

    def run(self) -> bool:
        """Show the messages; return whether one of them was rejected. Raises `FaultyManifests`."""
        reading = self._reading()
        try:
            if self._binding == "kafka":
                self._read_kafka(reading)
            else:
                self._read_nats(reading)
        except TailError as error:
            raise fault(str(self._broker), str(error)) from None
        return self._rejected

    def _read_kafka(self, reading: Reading) -> None:
        with needs_extra("kafka"):
            from troth.cli.event.kafka_topic import read_topic  # noqa: PLC0415

        if self._asked.stream is not None:
            raise fault("--stream", "Kafka has no streams; leave the option out")
        properties = kafka_properties(self._broker)
        group = self._entry.group or _GROUP
        read_topic(properties, group, self._asked.partition, reading, self._show)

    def _read_nats(self, reading: Reading) -> None:
        if self._asked.partition is not None:
            raise fault("--partition", "NATS has no partitions; leave the option out")
        stream = self._asked.stream
        if stream is None and not self._asked.dead_letters:
            stream = self._entry.stream
        if stream is None and not (reading.follow or self._asked.limit is not None):
            raise fault(
                "--follow",
                "required, or --limit: without a stream, NATS has only the messages that come from "
                "now on; --stream names one",
            )
        with needs_extra("nats"):
            from troth.cli.event.nats_subject import read_subject  # noqa: PLC0415

        read_subject(nats_files(self._broker), stream, reading, self._show)

    def _reading(self) -> Reading:
        asked, entry = self._asked, self._entry
        try:
            start = Start.parse(asked.offset)
        except ValueError as error:
            raise fault("--offset", str(error)) from None
        topic, prefix = asked.topic or entry.topic or entry.prefix, False
        if asked.dead_letters:
            if entry.dead_letter is None:
                raise fault("--dead-letters", f"the TopicPolicy {entry.policy} declares none")
            topic = entry.dead_letter.topic
        elif asked.topic is None:
            prefix = entry.topic is None
        assert topic is not None
        try:
            name = client_name([entry.policy])
        except ValueError as error:
            raise fault("identity.json", str(error)) from None
        return Reading(topic, prefix, start, asked.follow, name)

    def _show(self, message: Message) -> bool:
        asked = self._asked
        opened = self._session.open(message)
        if asked.output is Output.TEXT:
            show_line(self._console, opened, payload=asked.payload)
        else:
            line = line_document(opened, self._binding, asked.output, payload=asked.payload)
            typer.echo(line, nl=False)
        self._shown += 1
        self._rejected = self._rejected or not opened.accepted
        return asked.limit is None or self._shown < asked.limit
