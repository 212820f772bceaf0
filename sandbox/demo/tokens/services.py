"""checkout, payments and ledger with `troth.edge`, and the issuer, as processes on loopback.

They are processes on every tier. Each reads what a pod would: its Secret and the trust bundle.
"""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from sandbox.control_plane import free_port
from sandbox.demo.cast import CHECKOUT, FULFILMENT, LEDGER, PAYMENTS
from sandbox.demo.cluster import Cluster
from sandbox.demo.loopback import LOOPBACK
from sandbox.demo.mounts import Mount, mounted
from sandbox.demo.programs import NAMESPACE, Program, await_listening, run_program
from sandbox.demo.shop import Place
from sandbox.processes import Tether
from troth.edge.identity.files import Identity

DOMAIN = "production"
ISSUER = f"troth-issuer-{DOMAIN}"
"""The issuer's Deployment and ServiceAccount in the chart, and its process here."""
CERTIFICATE = f"{DOMAIN}-issuer"
"""The Secret with the issuer's certificate."""
KEYS = f"{DOMAIN}-tokens"
"""The Secret with the issuer's keys and configuration: all that the issuer can read."""
SERVICES = (CHECKOUT, PAYMENTS, LEDGER)
GRACE = 2.0
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
class Services:
    """The ports of the issuer and the services on loopback, and the files of each identity."""

    directory: Path
    issuer: int
    ports: dict[Place, int]

    def files(self, place: Place) -> Files:
        """Return where an identity's files are."""
        return Files(self.directory / str(place), self.directory / place.namespace / BUNDLE)

    @property
    def names(self) -> dict[str, int]:
        """The ports on loopback by the names that Services have in a cluster."""
        return {f"{CERTIFICATE}.{NAMESPACE}.svc:{ISSUERS_PORT}": self.issuer} | {
            f"{place.name}.{place.namespace}.svc:{HTTPS}": port
            for place, port in self.ports.items()
        }


@contextmanager
def running(cluster: Cluster, tether: Tether, issuer: int = 0) -> Iterator[Services]:
    """Run the issuer and the services while the context lasts; all serve when it begins.

    `issuer` is the port on loopback of an issuer that runs already. Raises `DemoError` if one of
    them does not start.
    """
    directory = tether.directory / "mounts"
    ports = {place: free_port() for place in SERVICES}
    services = Services(directory, issuer or free_port(), ports)
    certificate = directory / CERTIFICATE
    with mounted(cluster.sandbox.kubeconfig, _mounts(services, certificate)):
        try:
            for place in SERVICES:
                _start(tether, services, place)
            if not issuer:
                _run_issuer(cluster, tether, certificate, services.issuer)
            for place in SERVICES:
                await_listening(tether, _process(place), services.ports[place], _log(tether, place))
            yield services
        finally:
            ours = () if issuer else (ISSUER,)
            for name in (*ours, *map(_process, SERVICES)):
                tether.stop(name, grace=GRACE)


def _run_issuer(cluster: Cluster, tether: Tether, certificate: Path, port: int) -> None:
    health = free_port()
    arguments = (
        *("issue", f"--domain={DOMAIN}", f"--tls={certificate}"),
        *(f"--listen={LOOPBACK}:{port}", f"--health-listen={LOOPBACK}:{health}"),
    )
    kubeconfig = cluster.sandbox.service_account_kubeconfig(NAMESPACE, ISSUER)
    program = Program(ISSUER, tether.directory / f"{ISSUER}.log", NAMESPACE, kubeconfig)
    run_program(tether, program, arguments, health)


def _mounts(services: Services, certificate: Path) -> Iterable[Mount]:
    yield Mount(Place(NAMESPACE, CERTIFICATE), certificate)
    places = (*SERVICES, FULFILMENT)
    for place in places:
        yield Mount(Place(place.namespace, f"{place.name}-identity"), services.files(place).secret)
    for place in {each.namespace: each for each in places}.values():
        bundle = Place(place.namespace, BUNDLE)
        yield Mount(bundle, services.files(place).bundle, is_secret=False)


def _start(tether: Tether, services: Services, place: Place) -> None:
    files = services.files(place)
    settings = {
        "name": place.name,
        "port": services.ports[place],
        "identity": str(files.secret),
        "bundle": str(files.bundle),
        "services": services.names,
    }
    argv = [sys.executable, "-m", "sandbox.demo.tokens.service", json.dumps(settings)]
    repository = Path(__file__).parents[3]
    tether.start(_process(place), argv, log=_log(tether, place), cwd=repository)


def _process(place: Place) -> str:
    return f"{place} with troth.edge"


def _log(tether: Tether, place: Place) -> Path:
    return tether.directory / f"{place.namespace}.{place.name}.edge.log"
