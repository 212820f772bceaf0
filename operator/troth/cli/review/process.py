"""Runs the review worker: its identity, index, audit log, list API, health and signals."""

import asyncio
import os
import socket
import sqlite3
import sys
import uuid
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import structlog
from prometheus_client import CollectorRegistry

from troth.cli.inputs.access import reach
from troth.cluster.api import ApiServer
from troth.cluster.leases.lease import Leadership
from troth.cluster.server_clock import ServerClock, log_change
from troth.edge.events.sealing import Sealer
from troth.edge.identity.files import Identity, IdentityError
from troth.resources.references import Ref
from troth.review.api.access import Access, User
from troth.review.api.endpoint import app
from troth.review.api.examiner import BrokerSource, Reviewed
from troth.review.api.metrics import Calls
from troth.review.api.serving import Server
from troth.review.index.feeder import Feeder
from troth.review.index.store import LetterIndex
from troth.review.letters.letter import Letter
from troth.review.metrics import LetterMetrics
from troth.review.trail.decisions import PayloadRead
from troth.review.trail.head_store import HeadStore
from troth.review.trail.log import AuditLog
from troth.review.trail.metrics import AuditLogMetrics
from troth.review.trail.sinks import LineSink, Sink, TopicSink
from troth.review.trail.topic import AuditTopic
from troth.review.worker import FIELD_MANAGER, LEASE, Settings, Worker
from troth.serving.api_requests import counting
from troth.serving.process import prepare, serve

AUDIT_LOG = "troth-review-audit-log"
"""Name of the ConfigMap with the head of the audit log."""
INDEX = "letters.sqlite"

log = structlog.get_logger()


class UnusableError(Exception):
    """An option of the worker cannot be used; the message says which and why."""


class NotLeadingError(Exception):
    """Another replica writes the audit log."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `troth review`."""

    kubeconfig: Path | None
    context: str | None
    namespace: str
    namespaces: frozenset[str]
    identity: Path
    bundle: Path
    schemas: Path
    credentials: Path
    index: Path
    admission_policy: str
    audit_topic: Ref | None
    listen: tuple[str, int]
    health_listen: tuple[str, int]


async def run(options: Options) -> None:
    """Carry out reviews until a signal; raises the error of a part that ends.

    The list API listens at once; readiness waits until reviews and policies are known. Raises
    `UnusableError`, and `FaultyManifests` without a usable kubeconfig.
    """
    prepare()
    config = await reach(options.kubeconfig, options.context)
    identity = _identity(options)
    registry = CollectorRegistry()
    async with AsyncExitStack() as stack:
        index = _index(options.index)
        stack.callback(index.close)
        api = await stack.enter_async_context(
            ApiServer(
                config, counting(registry), ServerClock(log_change), field_manager=FIELD_MANAGER
            )
        )
        parts = Parts(options, api, identity, index, registry)
        stack.push_async_callback(parts.close)
        await serve(
            parts.server,
            {"worker": parts.work()},
            ready=lambda: parts.worker.ready,
            health_listen=options.health_listen,
            registry=registry,
            on_start=lambda: log.info(
                "started",
                namespace=options.namespace,
                identity=identity.current.spiffe_id,
                watches=sorted(options.namespaces) or "all namespaces",
            ),
        )


class Parts:
    """The parts of the worker's process."""

    def __init__(
        self,
        options: Options,
        api: ApiServer,
        identity: Identity,
        index: LetterIndex,
        registry: CollectorRegistry,
    ) -> None:
        settings = Settings(
            namespace=options.namespace,
            instance=f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}",
            credentials=options.credentials,
            admission_policy=options.admission_policy,
            namespaces=options.namespaces,
        )
        api.clock.elects = True
        self._leadership = Leadership(
            api,
            Ref(options.namespace, LEASE),
            settings.instance,
            settings.timing,
            may_lead=lambda: api.clock.agrees,
        )
        sinks: list[Sink] = [LineSink(sys.stdout.buffer)]
        self._topic: AuditTopic | None = None
        if options.audit_topic is not None:
            policy = str(options.audit_topic)
            self._topic = AuditTopic(identity, policy, options.credentials)
            sinks.append(TopicSink(Sealer(identity, policy), self._topic))
        self._audit = AuditLog(
            HeadStore(api, Ref(options.namespace, AUDIT_LOG)),
            identity,
            sinks,
            AuditLogMetrics(registry),
        )
        letters = LetterMetrics(registry, index, self._feeders)
        self.worker = Worker(
            api,
            settings,
            identity,
            index,
            self._audit,
            fence=self._leadership,
            unreadable=letters.unreadable,
        )
        calls = Calls(registry)
        self.server = Server(
            app(
                BrokerSource(index, self.worker.served, self._reviewed),
                Access(api),
                self._payload_read,
                calls,
            ),
            identity,
            *options.listen,
            on_refused=calls.connection_refused,
        )

    async def work(self) -> None:
        """Carry out reviews until cancelled. The audit log ends after them.

        Only the replica that has the Lease writes the audit log. If another has written it
        meanwhile, this process ends with its error.
        """
        async with asyncio.TaskGroup() as tasks:
            writing = tasks.create_task(self._write_log(), name="audit log")
            try:
                await self.worker.run()
            finally:
                writing.cancel()

    async def close(self) -> None:
        """Close the connection of the audit topic."""
        if self._topic is not None:
            await self._topic.close()

    async def _write_log(self) -> None:
        await self._leadership.gained()
        await self._audit.run()

    def _feeders(self) -> list[Feeder]:
        found = (each.feeder for each in self.worker.policies.values())
        return [each for each in found if each is not None]

    def _reviewed(self) -> Mapping[Ref, Reviewed]:
        return {
            policy: Reviewed(each.fetch, each.originals, each.judge)
            for policy, each in self.worker.policies.items()
            if each.ready
        }

    async def _payload_read(self, user: User, letter: Letter) -> None:
        if not self._leadership.acting:
            raise NotLeadingError
        await self._audit.append(PayloadRead(letter.policy, letter.id, letter.digest, user.name))


def _identity(options: Options) -> Identity:
    """Return the mounted identity; raises `UnusableError`."""
    identity = Identity(options.identity, options.bundle, schemas=options.schemas)
    try:
        identity.current  # noqa: B018 - reads the files
    except IdentityError as error:
        raise UnusableError(f"{options.identity}: {error}") from None
    return identity


def _index(directory: Path) -> LetterIndex:
    """Open the index, or create it; raises `UnusableError`."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(None, "Permission denied")
        return LetterIndex(directory / INDEX)
    except OSError as error:
        raise UnusableError(
            f"--index {directory}: {error.strerror}; name a folder that the worker may write to"
        ) from None
    except sqlite3.Error as error:
        raise UnusableError(
            f"--index {directory}: {error}; name a folder on another disk"
        ) from None
