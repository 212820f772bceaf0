"""checkout, payments and ledger with `troth.edge`, and the issuer, as processes on loopback.

They are so on every tier, and know what a pod would: the files of its Secret and of the bundle.
"""

import json
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sandbox.control_plane import free_port
from sandbox.demo.cast import CHECKOUT, FULFILMENT, LEDGER, PAYMENTS
from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.issuing import CERTIFICATE, ISSUER, run_issuer
from sandbox.demo.mounts import Mount, mounted
from sandbox.demo.names import LOOPBACK
from sandbox.demo.operating import NAMESPACE
from sandbox.demo.shop import Place
from sandbox.processes import Tether, tail
from troth.edge.identity.files import Identity

SERVICES = (CHECKOUT, PAYMENTS, LEDGER)
SECONDS, GRACE = 20.0, 2.0
ISSUERS_PORT, HTTPS = 8443, 8443
BUNDLE = "trust-bundle"


class Files(NamedTuple):
    """Where an identity's Secret and the bundle of its namespace are mounted."""

    secret: Path
    bundle: Path

    def identity(self) -> Identity:
        """Return the identity that they make."""
        return Identity(self.secret, self.bundle)


@dataclass(frozen=True, slots=True)
class Chain:
    """The processes' ports on loopback, and everybody's files."""

    directory: Path
    issuer: int
    services: dict[Place, int]

    def files(self, place: Place) -> Files:
        """Return where somebody's files are."""
        return Files(self.directory / str(place), self.directory / place.namespace / BUNDLE)

    @property
    def names(self) -> dict[str, int]:
        """The ports of loopback by the names that Services have in a cluster."""
        return {f"{CERTIFICATE}.{NAMESPACE}.svc:{ISSUERS_PORT}": self.issuer} | {
            f"{place.name}.{place.namespace}.svc:{HTTPS}": port
            for place, port in self.services.items()
        }


@contextmanager
def opened(cluster: Cluster, tether: Tether) -> Iterator[Chain]:
    """Run the issuer and the services while the context lasts; they serve when it begins.

    Raises `DemoError` if one of them does not start.
    """
    directory = tether.directory / "mounts"
    chain = Chain(directory, free_port(), {place: free_port() for place in SERVICES})
    kubeconfig = cluster.sandbox.service_account_kubeconfig(NAMESPACE, ISSUER)
    certificate = directory / CERTIFICATE
    with mounted(cluster.sandbox.kubeconfig, _mounts(chain, certificate)):
        try:
            for place in SERVICES:
                _start(tether, chain, place)
            run_issuer(tether, kubeconfig, certificate, chain.issuer)
            for place in SERVICES:
                log = _log(tether, place)
                await_listening(tether, _process(place), chain.services[place], log)
            yield chain
        finally:
            for name in (ISSUER, *map(_process, SERVICES)):
                tether.stop(name, grace=GRACE)


def _mounts(chain: Chain, certificate: Path) -> Iterable[Mount]:
    yield Mount(Place(NAMESPACE, CERTIFICATE), certificate)
    places = (*SERVICES, FULFILMENT)
    for place in places:
        secret = Place(place.namespace, f"{place.name}-identity")
        yield Mount(secret, chain.files(place).secret)
    for namespace in {place.namespace for place in places}:
        yield Mount(Place(namespace, BUNDLE), chain.directory / namespace / BUNDLE, is_secret=False)


def _start(tether: Tether, chain: Chain, place: Place) -> None:
    files = chain.files(place)
    settings = {
        "name": place.name,
        "port": chain.services[place],
        "identity": str(files.secret),
        "bundle": str(files.bundle),
        "services": chain.names,
    }
    argv = [sys.executable, "-m", "sandbox.demo.hop", json.dumps(settings)]
    repository = Path(__file__).parents[2]
    tether.start(_process(place), argv, log=_log(tether, place), cwd=repository)


def await_listening(tether: Tether, name: str, port: int, log: Path) -> None:
    """Wait until a process listens on loopback; raises `DemoError` with the end of its log."""
    deadline = time.monotonic() + SECONDS
    while not _listens(port):
        if tether.poll(name) is not None or time.monotonic() > deadline:
            raise DemoError(f"{name} did not start:\n{tail(log)}")
        time.sleep(0.05)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=1):
            return True
    except OSError:
        return False


def _process(place: Place) -> str:
    return f"{place} with troth.edge"


def _log(tether: Tether, place: Place) -> Path:
    return tether.directory / f"{place.namespace}.{place.name}.edge.log"
