"""Runs the issuer process: its Secret, the endpoint, health, signals."""

from dataclasses import dataclass
from pathlib import Path

import structlog

from troth.cli.inputs.access import reach
from troth.cluster.api import ApiServer
from troth.cluster.server_clock import ServerClock, log_change
from troth.issuer.decisions import Decisions
from troth.issuer.endpoint import app
from troth.issuer.secret_watch import ConfigurationWatch
from troth.issuer.service_accounts.token_review import Reviewer
from troth.issuer.serving import Server
from troth.issuer.tls import IssuerTLS
from troth.serving.api_requests import counting
from troth.serving.process import prepare, serve
from troth.serving.tracing import Tracer
from troth.serving.workers.link import Link

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `troth issue`."""

    domain: str
    kubeconfig: Path | None
    context: str | None
    namespace: str
    tls: Path
    listen: tuple[str, int]
    health_listen: tuple[str, int]
    workers: int = 1


async def run(options: Options, tracer: Tracer | None = None, link: Link | None = None) -> None:
    """Issue tokens until a signal, as a worker with a link; raises the error of a part that ends.

    The endpoint listens at once, but answers unavailable until it has read its Secret; readiness
    waits. Raises `TLSFilesError` without usable TLS files, and `FaultyManifests` without a usable
    kubeconfig.
    """
    prepare()
    decisions = Decisions()
    watch = ConfigurationWatch(options.namespace, options.domain)
    decisions.read_view_age(lambda: watch.age)
    config = await reach(options.kubeconfig, options.context)
    async with ApiServer(config, counting(decisions.registry), ServerClock(log_change)) as api:
        reviewer = Reviewer(api, workers=options.workers)
        decisions.read_cluster_keys(lambda: reviewer.cluster_keys.readable)
        issuer = app(watch.current, reviewer, decisions, tracer=tracer)
        server = Server(
            issuer,
            IssuerTLS(options.tls),
            *options.listen,
            on_refused=decisions.connection_refused,
            workers=options.workers,
        )
        await serve(
            server,
            {
                "watch": watch.informer(api).run(),
                "poll": watch.check(api),
                "TLS files": server.follow_files(),
            },
            ready=lambda: watch.ready,
            health_listen=options.health_listen,
            registry=decisions.registry,
            on_start=lambda: log.info(
                "started",
                domain=options.domain,
                namespace=options.namespace,
                **({"worker": link.worker} if link else {}),
            ),
            link=link,
        )
