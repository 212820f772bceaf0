"""The HTTP server of issuer and gateway: uvicorn, without the features that neither needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from troth.edge.inbound.asgi import Application

LIFETIME = 120.0
"""Seconds for which a connection is used, plus or minus a tenth, so that the reconnects of a fleet
are spread out. Clients find new replicas when they reconnect, and TLS verifies certificates again.
"""


class HTTPServer(uvicorn.Server):
    """Serves until `stop`. The process handles signals."""

    def __init__(
        self,
        app: Application,
        host: str,
        port: int,
        *,
        connections: int,
        shutdown: int,
        **settings: Any,  # noqa: ANN401 - uvicorn's settings
    ) -> None:
        """Configure the server.

        `connections` is the maximum number of connections. `shutdown` is the number of seconds that
        pending requests get when the server stops.
        """
        super().__init__(
            uvicorn.Config(
                app,
                host,
                port,
                ws="none",
                lifespan="off",
                loop="none",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # each application decides which proxies to trust
                server_header=False,
                timeout_graceful_shutdown=shutdown,
                limit_concurrency=connections,
                **settings,
            )
        )

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Do not handle signals: uvicorn would raise them again, which ends the process at once."""
        yield

    def stop(self) -> None:
        """Accept no more connections, answer pending requests, and let `serve` return."""
        self.should_exit = True
