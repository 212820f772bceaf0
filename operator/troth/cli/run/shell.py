"""Runs the operator in kopf, which handles start, stop, signals and login, but no watches.

The reason for separate informers is in docs/decisions/0002-own-informers.md.
"""

import asyncio
import socket
import uuid
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
        self._task: asyncio.Task[None] | None = None
        self.failed = False

    async def run(self) -> None:
        """Run until a signal, or until the operator fails.

        All that can fail at start is outside of kopf, which would try it again in this process: a
        second operator would then lead beside the first. Raises `FaultyManifests` without a usable
        kubeconfig, and `OSError` if the health endpoints cannot listen.
        """
        options, metrics = self._options, Metrics()
        server = ApiServer(await self._configuration(), metrics.request, ServerClock(log_change))
        async with server:
            operator = self._operator(server, metrics)
            metrics.read_from(operator)
            async with health_server(
                options.host,
                options.port,
                ready=lambda: operator.ready,
                obstacle=lambda: operator.claim.obstacle,
                alive=lambda: self._task is None or not self._task.done(),
                registry=metrics.registry,
            ):
                log.info(
                    "started",
                    namespace=options.namespace,
                    listen=f"{options.host}:{options.port}",
                    watches=sorted(options.namespaces) or "all namespaces",
                )
                await self._run_in_kopf(operator)

    async def _configuration(self) -> Configuration:
        return await reach(self._options.kubeconfig, self._options.context)

    def _operator(self, server: ApiServer, metrics: Metrics) -> Operator:
        options = self._options
        return Operator(
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

    async def _run_in_kopf(self, operator: Operator) -> None:
        async def start(settings: kopf.OperatorSettings, **_: Any) -> None:  # noqa: ANN401
            settings.scanning.disabled = True
            settings.posting.enabled = False
            settings.peering.standalone = True
            self._task = asyncio.create_task(operator.run(), name="operator")
            self._task.add_done_callback(self._ended)

        registry = kopf.OperatorRegistry()
        kopf.on.startup(registry=registry, errors=kopf.ErrorsMode.PERMANENT)(start)
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

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self.failed = True
            error = task.exception()
            log.error("operator ended", error=origin(error) if error is not None else None)
        self._stop.set()
