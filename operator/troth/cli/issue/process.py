"""The issuer as one thing to run: the Secret it follows, the endpoint, health, and signals."""

from dataclasses import dataclass
from pathlib import Path

import structlog

from troth.cli.inputs.access import reach
from troth.cluster.api import ApiServer
from troth.issuer.decisions import Decisions
from troth.issuer.endpoint import app
from troth.issuer.secret_watch import Following
from troth.issuer.serving import Server
from troth.issuer.tls import TLSFiles
from troth.issuer.token_review import Reviewer
from troth.serving.api_requests import counting
from troth.serving.health import health_server
from troth.serving.process import prepare, serve, stop_on_signal

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Options:
    """What `troth issue` was told."""

    domain: str
    kubeconfig: Path | None
    context: str | None
    namespace: str
    tls: Path
    listen: tuple[str, int]
    health_listen: tuple[str, int]


async def run(options: Options) -> None:
    """Issue until a signal; raises what a part of it ended with.

    The endpoint is there at once, and says that it does not know until it does; only readiness
    waits. Raises `TLSFilesError` where there is nothing to serve TLS with, and `FaultyManifests`
    where it is not said how to reach the API server.
    """
    prepare()
    decisions = Decisions()
    following = Following(options.namespace, options.domain)
    decisions.read_view_age(lambda: following.age)
    config = await reach(options.kubeconfig, options.context)
    async with ApiServer(config, counting(decisions.registry)) as api:
        issuer = app(following.current, Reviewer(api), decisions)
        server = Server(issuer, TLSFiles(options.tls), *options.listen)
        stop_on_signal(server)
        async with health_server(
            *options.health_listen,
            ready=lambda: server.started and following.ready,
            alive=lambda: True,  # where a part has ended the process has
            registry=decisions.registry,
        ):
            log.info("started", domain=options.domain, namespace=options.namespace)
            beside = {
                "following": following.informer(api).run(),
                "checking": following.check(api),
                "TLS files": server.follow_files(),
            }
            await serve(server, beside)
