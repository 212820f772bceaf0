"""Runs the operator in kopf, which handles start, stop, signals and login, but no watches.

The reason for separate informers is in docs/decisions/0002-own-informers.md.
"""

import asyncio
import socket
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from troth.cli.inputs.access import reach
from troth.cli.run.metrics import Metrics
from troth.cluster.api import ApiServer
from troth.cluster.connection.library import Configuration, asynchronous_only
from troth.cluster.leases.lease import Timing
from troth.cluster.server_clock import ServerClock, log_change
from troth.reconcile.operator import Operator, Settings
from troth.serving.health import health_server
from troth.serving.tracing import Tracer
from troth.world.origin import origin

with asynchronous_only():
    import kopf

log = structlog.get_logger()

LOGIN_LASTS = timedelta(minutes=10)
"""Time after which kopf requests the login again."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `troth run`."""

    kubeconfig: Path | None
    context: str | None
    namespace: str
    host: str
    port: int
    lease_seconds: float
    workers: int
    rollouts: bool
    namespaces: frozenset[str] = frozenset()
    shards: int = 1


class Shell:
    """Runs one operator inside kopf; `failed` is True if the operator ended by itself."""

    def __init__(self, options: Options, tracer: Tracer | None = None) -> None:
        self._options = options
        self._tracer = tracer
        self._instance = f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
        self._stop = asyncio.Event()
        self._stack = AsyncExitStack()
        self._task: asyncio.Task[None] | None = None
        self.failed = False

    async def run(self) -> None:
        """Run until a signal, or until the operator fails.

        Raises `FaultyManifests` without a usable kubeconfig, because kopf would retry forever.
        """
        await self._configuration()
        registry = kopf.OperatorRegistry()
        kopf.on.startup(registry=registry)(self._startup)
        kopf.on.login(registry=registry)(self._login)
        kopf.on.cleanup(registry=registry)(self._cleanup)
        # Without an identity, kopf looks up the user name, which a container's user lacks. The type
        # of an identity is private to kopf.
        identity: Any = self._instance
        await kopf.operator(
            registry=registry,
            standalone=True,
            clusterwide=True,
            identity=identity,
            stop_flag=self._stop,
        )

    async def _configuration(self) -> Configuration:
        return await reach(self._options.kubeconfig, self._options.context)

    async def _startup(self, settings: kopf.OperatorSettings, **_: Any) -> None:  # noqa: ANN401
        settings.scanning.disabled = True
        settings.posting.enabled = False
        settings.peering.standalone = True
        options, metrics = self._options, Metrics()
        server = await self._stack.enter_async_context(
            ApiServer(await self._configuration(), metrics.request, ServerClock(log_change))
        )
        operator = Operator(
            server,
            Settings(
                own_namespace=options.namespace,
                instance=self._instance,
                timing=Timing(
                    duration=options.lease_seconds,
                    renew_every=options.lease_seconds / 5,
                    margin=options.lease_seconds / 3,
                ),
                workers=options.workers,
                shards=options.shards,
                rollouts=options.rollouts,
                namespaces=options.namespaces,
            ),
            instrumentation=metrics.instrumentation(self._tracer),
        )
        metrics.read_from(operator)
        self._task = asyncio.create_task(operator.run(), name="operator")
        self._task.add_done_callback(self._ended)
        await self._stack.enter_async_context(
            health_server(
                options.host,
                options.port,
                ready=lambda: operator.ready,
                alive=lambda: self._task is not None and not self._task.done(),
                registry=metrics.registry,
            )
        )
        log.info(
            "started",
            namespace=options.namespace,
            listen=f"{options.host}:{options.port}",
            watches=sorted(options.namespaces) or "all namespaces",
        )

    async def _login(self, **_: Any) -> kopf.ConnectionInfo:  # noqa: ANN401
        config = await self._configuration()
        scheme, _space, token = config.api_key.get("BearerToken", "").partition(" ")
        return kopf.ConnectionInfo(
            server=config.host,
            scheme=scheme or None,
            token=token or None,
            ca_path=config.ssl_ca_cert,
            certificate_path=config.cert_file,
            private_key_path=config.key_file,
            expiration=datetime.now(UTC) + LOGIN_LASTS,
        )

    async def _cleanup(self, **_: Any) -> None:  # noqa: ANN401
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._stack.aclose()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.failed = True
            error = task.exception()
            log.error("operator ended", error=origin(error) if error is not None else None)
        self._stop.set()
