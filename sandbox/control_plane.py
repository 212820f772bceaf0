"""Starts etcd, the API server and the controller manager, and waits until they are ready."""

import http.client
import os
import random
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from sandbox import components, tools
from sandbox.errors import ComponentError, SandboxError
from sandbox.kubeconfig import by_certificate, verified, write_kubeconfig
from sandbox.processes import Tether, tail
from sandbox.store import Store

READY_SECONDS = 90.0
GRACE_SECONDS = 1.0  # the API server waits a minute for open watches
ANSWER_SECONDS = 1.0  # another server on our port may accept a connection and not answer
BIND_ATTEMPTS = 5
IN_USE = "address already in use"

CONTROLLER_MANAGER = "kube-controller-manager"
CONTROLLER_MANAGER_CONFIG = f"{CONTROLLER_MANAGER}.kubeconfig"

# With Go's default, 100, garbage collection takes a sixth of the API server's CPU time.
GARBAGE_PERCENT = "400"

# Below the range of ephemeral ports, so that the port is still free when the API server starts
# again on it.
PORTS = range(20_000, 30_000)

MOST_CLAIMS = 64
_claims: deque[int] = deque()
"""File descriptors of the sockets that reserve the most recently returned ports."""

# Objects that must exist before the control plane is usable, by the component that creates them.
FIRST_OBJECTS = {
    "kube-apiserver": ("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes",),
    CONTROLLER_MANAGER: (
        "/api/v1/namespaces/default/serviceaccounts/default",
        "/api/v1/namespaces/default/configmaps/kube-root-ca.crt",
    ),
}


class ControlPlane:
    """A control plane in a directory; its processes end with this one.

    `kubeconfig` is the administrator's. With `node`, a node can join the control plane. Without
    `controllers`, it has no controller manager.
    """

    def __init__(
        self, tether: Tether, directory: Path, *, node: bool = False, controllers: bool = True
    ) -> None:
        programs = [
            name for name in tools.CONTROL_PLANE if controllers or name != CONTROLLER_MANAGER
        ]
        self._programs = {name: tools.ensure(name) for name in programs}
        self._tether = tether
        self._directory = directory
        self._credentials = components.Credentials.issue(directory, node=node)
        self._tls = ssl.create_default_context(cafile=str(self._credentials.authority))
        administrator = self._credentials.administrator
        self._tls.load_cert_chain(administrator.certificate, administrator.key)
        self._port = 0
        self._pids: dict[str, int] = {}
        self.store = Store(directory, self._run, partial(_stop, tether))
        if node:
            configuration = components.egress_configuration()
            (directory / components.EGRESS_CONFIGURATION).write_text(configuration)
        self.kubeconfig = directory / "kubeconfig"

    @property
    def server(self) -> str:
        """URL of the API server."""
        return f"https://{components.LOOPBACK}:{self._port}"

    @property
    def port(self) -> int:
        """Port of the API server on the loopback interface."""
        return self._port

    @property
    def credentials(self) -> components.Credentials:
        """Credentials of the components."""
        return self._credentials

    @property
    def pids(self) -> Mapping[str, int]:
        """Process IDs of the components, by name."""
        return self._pids

    def start(self) -> None:
        """Start all components and return once they serve.

        Raises `ComponentError` with the end of the log of the component that failed.
        """
        self.store.start()
        on_free_ports(self._start_on_a_free_port)
        cluster = verified(self.server, self._credentials.authority.read_bytes())
        if CONTROLLER_MANAGER in self._programs:
            manager = write_kubeconfig(
                self._directory / CONTROLLER_MANAGER_CONFIG,
                cluster=cluster,
                user=by_certificate(self._credentials.controller_manager),
            )
            self._start_controller_manager(manager)
        for component in self._programs.keys() & FIRST_OBJECTS:
            for path in FIRST_OBJECTS[component]:
                self._wait(component, partial(self._exists, path))
        write_kubeconfig(
            self.kubeconfig,
            cluster=cluster,
            user=by_certificate(self._credentials.administrator),
        )

    def start_api_server(self) -> None:
        """Start the API server on its previous port, and return once it serves."""
        self._run("kube-apiserver", components.api_server(self._port, self._credentials))
        self._wait("kube-apiserver", partial(self._exists, "/readyz"))

    @contextmanager
    def another_api_server(
        self, name: str, *flags: str, etcd_socket: str = components.ETCD_SOCKET
    ) -> Iterator[int]:
        """Run one more API server on the same etcd; yield its port once it serves.

        `etcd_socket` is the socket by which it reaches etcd, for example that of a relay.
        """
        port = 0

        def start() -> None:
            nonlocal port
            port = free_port()
            server = components.api_server(port, self._credentials, etcd_socket=etcd_socket)
            self._run(name, [*server, *flags], "kube-apiserver")
            self._wait(name, partial(self._exists, "/readyz", port))

        on_free_ports(start)
        try:
            yield port
        finally:
            self._tether.stop(name, grace=0)

    def restore(self, copy: Path) -> None:
        """Restore etcd from a copy of its data, as after a disaster.

        The API server is stopped meanwhile, and the controller manager restarted, as Kubernetes'
        documentation asks for: their caches would keep what no longer exists.
        https://kubernetes.io/docs/tasks/administer-cluster/configure-upgrade-etcd/#restoring-an-etcd-cluster
        """
        self.stop_api_server(grace=0)
        self.store.stop()
        self.store.replace_by(copy)
        self.store.start()
        self._tether.stop(CONTROLLER_MANAGER, grace=0)
        self.start_api_server()
        self._start_controller_manager(self._directory / CONTROLLER_MANAGER_CONFIG)

    def _start_controller_manager(self, kubeconfig: Path) -> None:
        flags = components.controller_manager(kubeconfig, self._credentials)
        self._run(CONTROLLER_MANAGER, flags)

    def stop_api_server(self, *, grace: float = GRACE_SECONDS) -> None:
        """Stop the API server; `grace=0` kills it, as a crash would."""
        self._tether.stop("kube-apiserver", grace=grace)

    def _exists(self, path: str, port: int = 0) -> bool:
        """Return whether an API server serves an object at that path to the administrator."""
        connection = http.client.HTTPSConnection(
            components.LOOPBACK, port or self._port, timeout=ANSWER_SECONDS, context=self._tls
        )
        try:
            connection.request("GET", path)
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def _start_on_a_free_port(self) -> None:
        self._port = free_port()
        self.start_api_server()

    def _log(self, component: str) -> Path:
        return self._directory / f"{component}.log"

    def _run(self, component: str, flags: Sequence[str], program: str = "") -> None:
        self._pids[component] = self._tether.start(
            component,
            [self._programs[program or component], *flags],
            log=self._log(component),
            cwd=self._directory,
            env={"GOGC": GARBAGE_PERCENT} | os.environ,
        )

    def _wait(self, component: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not condition():
            # Check etcd too: if it has ended, the API server waits, and its log shows no cause.
            for needed in ("etcd", component):
                returncode = self._tether.poll(needed)
                if returncode is not None:
                    problem = f"ended with {returncode} instead of serving"
                    raise ComponentError(needed, problem, tail(self._log(needed)))
            if time.monotonic() > deadline:
                problem = f"was not ready after {READY_SECONDS:.0f} s"
                raise ComponentError(component, problem, tail(self._log(component)))
            time.sleep(0.03)


def _stop(tether: Tether, name: str, grace: float) -> None:
    tether.stop(name, grace=grace)


def on_free_ports(start: Callable[[], None]) -> None:
    """Call `start`, which chooses ports, again if another process binds one of them first."""
    for remaining in reversed(range(BIND_ATTEMPTS)):
        try:
            start()
        except ComponentError as error:
            if remaining and IN_USE in error.log.lower():
                continue
            raise
        return


def free_port() -> int:
    """Return a free loopback port, which no other caller gets until it is in use.

    A socket of this process stays bound to the port and never listens. A server can still bind the
    port, because it allows address reuse.
    """
    for port in random.sample(PORTS, k=100):
        with socket.socket() as claim:
            try:
                claim.bind((components.LOOPBACK, port))
            except OSError:
                continue
            claim.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _claims.append(claim.detach())
        if len(_claims) > MOST_CLAIMS:
            os.close(_claims.popleft())
        return port
    raise SandboxError(f"no free port on {components.LOOPBACK}")
