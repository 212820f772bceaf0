"""A simulated cluster: the server as a process, and a kubeconfig for it."""

import ssl
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.simulation import server
from benchmarks.simulation.server import CERTIFICATE, KEY
from sandbox import SandboxError
from sandbox.certificates import Authority
from sandbox.components import LOOPBACK
from sandbox.control_plane import free_port
from sandbox.kubeconfig import by_certificate, verified, write_kubeconfig
from sandbox.processes import Tether, tail

NAME = "simulated-api-server"
PATIENCE_SECONDS, LOOK_SECONDS = 120.0, 0.1


@dataclass(frozen=True, slots=True)
class Cluster:
    """A directory, and the kubeconfig of an administrator."""

    directory: Path
    kubeconfig: Path


@contextmanager
def simulated() -> Iterator[Cluster]:
    """Run a simulated API server with the CRDs of this checkout and the claim."""
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        authority = Authority(directory)
        pair = authority.server(Path(CERTIFICATE).stem, addresses=[LOOPBACK], dns_names=[])
        assert pair.key.name == KEY
        port = free_port()
        running = directory / "running"
        running.mkdir()
        log = directory / "server.log"
        kubeconfig = write_kubeconfig(
            directory / "kubeconfig",
            cluster=verified(f"https://{LOOPBACK}:{port}", authority.certificate.read_bytes()),
            user=by_certificate(authority.client("administrator", user="administrator")),
        )
        with Tether(running) as tether:
            tether.start(
                NAME, [*server.COMMAND, directory, str(port)], log=log, cwd=server.CRDS.parent
            )
            _await(tether, port, authority.certificate, log)
            yield Cluster(directory, kubeconfig)


def _await(tether: Tether, port: int, roots: Path, log: Path) -> None:
    """Wait until the server answers; raises `SandboxError` if it does not."""
    context = ssl.create_default_context(cafile=roots)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            urllib.request.urlopen(
                f"https://{LOOPBACK}:{port}/api/v1/namespaces",
                context=context,
                timeout=PATIENCE_SECONDS,
            ).close()
        except (urllib.error.URLError, TimeoutError):
            if tether.poll(NAME) is not None or time.monotonic() > deadline:
                raise SandboxError(f"{NAME} does not serve; its log:\n{tail(log)}") from None
            time.sleep(LOOK_SECONDS)
        else:
            return
