"""Runs the gateway process: Secrets, senders, targets, health, signals."""

from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from troth.cli.inputs.access import reach
from troth.cluster.api import ApiServer
from troth.cluster.server_clock import ServerClock, log_change
from troth.edge.identity.files import Identity, IdentityError
from troth.pki.tokens.webhook import Signer
from troth.replay.memory import Memory
from troth.replay.url_file import StoreFile
from troth.serving.api_requests import counting
from troth.serving.process import prepare, serve
from troth.serving.tls_files import TLSFilesError
from troth.serving.tracing import Tracer
from troth.serving.workers.link import Link
from troth.webhooks.gateway.app import Gateway
from troth.webhooks.gateway.connection.source import Proxies
from troth.webhooks.gateway.connection.tls import SenderTLS
from troth.webhooks.gateway.decisions import Decisions
from troth.webhooks.gateway.forwarding.client import TargetClient
from troth.webhooks.gateway.forwarding.pool import MOST_TO_ONE
from troth.webhooks.gateway.reporting import Reporter
from troth.webhooks.gateway.routes import Routes
from troth.webhooks.gateway.secret_watch import EndpointWatch
from troth.webhooks.gateway.serving import Server

log = structlog.get_logger()


class UnusableError(Exception):
    """An option of the gateway cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `troth gateway`."""

    identity_name: str
    kubeconfig: Path | None
    context: str | None
    namespace: str
    identity: Path
    bundle: Path
    listen: tuple[str, int]
    tls: Path | None
    valkey: Path | None
    trusted_proxies: tuple[str, ...]
    resolve: Mapping[tuple[str, int], tuple[str, int]]
    health_listen: tuple[str, int]
    workers: int = 1


async def run(options: Options, tracer: Tracer | None = None, link: Link | None = None) -> None:
    """Serve until a signal, as a worker with a link; raises the error of a part that ends.

    The gateway listens at once, but answers not found or unavailable until it is in sync; readiness
    waits. Raises `UnusableError`, and `FaultyManifests` without a usable kubeconfig.
    """
    prepare()
    config = await reach(options.kubeconfig, options.context)
    parts = Parts(options, tracer)
    async with (
        ApiServer(config, counting(parts.registry), ServerClock(log_change)) as api,
        parts.closing(),
    ):
        await serve(
            parts.server,
            parts.tasks(api),
            ready=lambda: parts.watch.ready,
            health_listen=options.health_listen,
            registry=parts.registry,
            on_start=lambda: log.info(
                "started",
                gateway=options.identity_name,
                namespace=options.namespace,
                **({"worker": link.worker} if link else {}),
            ),
            link=link,
        )


class Parts:
    """The parts of the gateway."""

    def __init__(self, options: Options, tracer: Tracer | None = None) -> None:
        """Raise `UnusableError`."""
        self.registry = CollectorRegistry()
        self.identity = Identity(options.identity, options.bundle)
        routes, proxies = Routes(), _proxies(options.trusted_proxies)
        self.store = _store(options.valkey)
        self.watch = EndpointWatch(
            options.namespace,
            options.identity_name,
            routes,
            on_deleted=self._forget,
            workers=options.workers,
        )
        self.reporter = Reporter(
            options.namespace, options.identity_name, routes, self.watch.unreadable
        )
        self.decisions = Decisions(self.registry, self.reporter.used)
        self.deliver = TargetClient(
            self.identity,
            resolve=options.resolve,
            most_to_one=max(MOST_TO_ONE // options.workers, 1),
        )
        self.gateway = Gateway(
            routes,
            self.store.store if isinstance(self.store, StoreFile) else self.store,
            self.deliver,
            self._signer,
            self.decisions,
            proxies=proxies,
            tracer=tracer,
            workers=options.workers,
        )
        self.tls = _tls(options.tls, routes)
        malformed = Counter(
            "troth_gateway_malformed_requests",
            "Requests rejected as malformed before an endpoint was looked up, by reason.",
            ("reason",),
            registry=self.registry,
        )
        self.server = Server(
            self.gateway,
            *options.listen,
            tls=self.tls.context if self.tls else None,
            proxies=proxies,
            on_refused=lambda reason: malformed.labels(reason).inc(),
            workers=options.workers,
        )
        _gauges(self.registry, routes, self.watch)

    def _signer(self) -> Signer | None:
        try:
            return self.watch.signer(lambda: self.identity.current.spiffe_id)
        except IdentityError:
            return None

    def _forget(self, endpoint: str) -> None:
        self.decisions.forget(endpoint)

    @asynccontextmanager
    async def closing(self) -> AsyncIterator[None]:
        """Close all connections on exit."""
        try:
            yield
        finally:
            await self.gateway.close()
            await self.deliver.close()

    def tasks(self, api: ApiServer) -> dict[str, Coroutine[Any, Any, None]]:
        """Return the background tasks, by name."""
        tasks = {
            "watch": self.watch.informer(api).run(),
            "poll": self.watch.check(api),
            "report": self.reporter.run(api, lambda: self.watch.synced),
        }
        if self.tls is not None:
            tasks |= {"TLS files": self.tls.follow()}
        if isinstance(self.store, StoreFile):
            tasks |= {"replay store": self.store.follow()}
        return tasks


def check(options: Options) -> None:
    """Raise `UnusableError` for an option that no worker could use, before there are any."""
    _proxies(options.trusted_proxies)
    _store(options.valkey)
    _tls(options.tls, Routes())


def _store(file: Path | None) -> Memory | StoreFile:
    if file is None:
        return Memory()
    try:
        return StoreFile(file)
    except (OSError, UnicodeDecodeError):
        raise UnusableError(f"{file}: cannot be read") from None
    except ValueError as error:
        raise UnusableError(f"{file}: {error}") from None


def _proxies(cidrs: tuple[str, ...]) -> Proxies:
    try:
        return Proxies(cidrs)
    except ValueError as error:
        raise UnusableError(f"--trusted-proxies: {error}") from None


def _tls(directory: Path | None, routes: Routes) -> SenderTLS | None:
    if directory is None:
        return None
    try:
        return SenderTLS(directory, routes.authorities)
    except TLSFilesError as error:
        raise UnusableError(f"{directory}: {error}") from None


def _gauges(registry: CollectorRegistry, routes: Routes, watch: EndpointWatch) -> None:
    served = Gauge(
        "troth_gateway_endpoints", "Endpoints that the gateway serves.", registry=registry
    )
    served.set_function(lambda: len(routes))
    unreadable = Gauge(
        "troth_gateway_unreadable_secrets",
        "Secrets whose latest version cannot be read; the previous version stays in effect.",
        registry=registry,
    )
    unreadable.set_function(lambda: len(watch.unreadable))
