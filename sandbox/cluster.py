"""The sandbox as demos, tests and benchmarks use it."""

import json
import os
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Self

from sandbox import tools
from sandbox.control_plane import GRACE_SECONDS, ControlPlane
from sandbox.errors import CommandError, SandboxError
from sandbox.kubeconfig import by_certificate, verified, write_kubeconfig
from sandbox.node import starting
from sandbox.node.node import Node
from sandbox.node.tiers import Tier
from sandbox.processes import Tether

KUBECONFIG_VARIABLE = "TROTH_SANDBOX_KUBECONFIG"


class Sandbox:
    """A cluster for demos, tests and benchmarks: a new one, or one that the user names.

    `kubeconfig` is the administrator's. `directory` holds the sandbox's files.
    """

    def __init__(
        self,
        directory: Path,
        kubeconfig: Path,
        control_plane: ControlPlane | None = None,
        node: Node | None = None,
    ) -> None:
        self.directory = directory
        self.kubeconfig = kubeconfig
        self._control_plane = control_plane
        self._node = node

    @classmethod
    @contextmanager
    def start(
        cls,
        directory: Path | None = None,
        *,
        kubeconfig: Path | None = None,
        tier: Tier = Tier.CONTROL_PLANE,
        controllers: bool = True,
    ) -> Iterator[Self]:
        """Start a control plane; stop it and remove its files when the context ends.

        A `tier` with a node also starts a node. Without `controllers`, nothing deletes the objects
        of a namespace or an owner, and a namespace that is deleted stays Terminating.

        `directory` must be missing or empty, and is removed at the end. Without it, a temporary
        directory is used. With `kubeconfig`, or with `TROTH_SANDBOX_KUBECONFIG`, nothing is started
        and the sandbox is that cluster, unchanged.

        Raises `SandboxError` if the control plane cannot be built or started, or if this machine
        does not support the tier.
        """
        named = kubeconfig or named_kubeconfig()
        if named:
            directory = _own(directory)
            node = Node.of(named)
            with Tether(directory), node or nullcontext():
                yield cls(directory, named, node=node)
            return
        starting.prepare(tier)
        directory = _own(directory)
        with starting.cleared(directory, tier) as group, Tether(directory) as tether:
            control_plane = ControlPlane(
                tether, directory, node=tier.has_node, controllers=controllers
            )
            control_plane.start()
            if not tier.has_node:
                yield cls(directory, control_plane.kubeconfig, control_plane)
                return
            with starting.start(tether, directory, control_plane, tier, group) as node:
                yield cls(directory, control_plane.kubeconfig, control_plane, node)

    @property
    def node(self) -> Node:
        """Node of the sandbox; raises `SandboxError` if the sandbox has none."""
        if self._node is None:
            raise SandboxError("this sandbox has no node: start it with another tier")
        return self._node

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl as the administrator and return its output.

        Raises `CommandError` with kubectl's error output if it fails.
        """
        return self._command("kubectl", arguments, stdin)

    def await_crds(self, *chosen: str, within: float = 60.0) -> None:
        """Return once the API server serves CRDs: those that kubectl selects by `chosen`, or all.

        `kubectl wait` fails while the API server has set no condition of a new CRD yet. `within` is
        a number of seconds, after which this raises `SandboxError`.
        """
        deadline = time.monotonic() + within
        while True:
            found = json.loads(self.kubectl("get", "crd", *chosen, "-o", "json"))
            crds = found.get("items", [found])
            if crds and all(is_established(each) for each in crds):
                return
            if time.monotonic() > deadline:
                left = [each["metadata"]["name"] for each in crds if not is_established(each)]
                missing = ", ".join(left) or "any CRD"
                raise SandboxError(f"the API server does not serve {missing} after {within:.0f} s")
            time.sleep(0.1)

    def helm(self, *arguments: str, stdin: str | None = None) -> str:
        """Run helm as the administrator and return its output.

        Helm's own files stay in the sandbox. Raises `CommandError` if it fails.
        """
        return self._command("helm", arguments, stdin)

    def service_account_kubeconfig(self, namespace: str, name: str, *, hours: int = 24) -> Path:
        """Write a kubeconfig for a service account, with a token that the API server issued.

        The file has the same CA as the administrator's kubeconfig. If the service account is
        deleted and created again, it needs a new token: call this method again.
        """
        token = self.kubectl("create", "token", name, "-n", namespace, f"--duration={hours}h")
        view = self.kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json")
        cluster = json.loads(view)["clusters"][0]["cluster"]
        return write_kubeconfig(
            self.directory / f"{namespace}.{name}.kubeconfig",
            cluster=cluster,
            user={"token": token.strip()},
            namespace=namespace,
        )

    def user_kubeconfig(self, user: str) -> Path:
        """Write a kubeconfig for a user with a client certificate; return its path.

        Raises `SandboxError` if the cluster is not ours.
        """
        control_plane = self.control_plane
        pair = control_plane.credentials.issuer.client(f"user-{user}", user=user)
        authority = control_plane.credentials.authority.read_bytes()
        return write_kubeconfig(
            self.directory / f"user-{user}.kubeconfig",
            cluster=verified(control_plane.server, authority),
            user=by_certificate(pair),
        )

    def stop_api_server(self, *, grace: float = GRACE_SECONDS) -> None:
        """Stop the API server and keep etcd's data. `grace=0` kills it, as a crash would."""
        self.control_plane.stop_api_server(grace=grace)

    def start_api_server(self) -> None:
        """Start the API server again on the same port; return once it serves."""
        self.control_plane.start_api_server()

    def restart_api_server(self, *, grace: float = GRACE_SECONDS) -> None:
        """Stop the API server and start it again on the same port."""
        self.stop_api_server(grace=grace)
        self.start_api_server()

    @property
    def is_ours(self) -> bool:
        """Whether this process started the control plane, so that it can stop it."""
        return self._control_plane is not None

    @property
    def control_plane(self) -> ControlPlane:
        """Control plane of the sandbox; raises `SandboxError` if the cluster is not ours."""
        if self._control_plane is None:
            raise SandboxError(f"the cluster of {self.kubeconfig} is not ours to stop")
        return self._control_plane

    def _command(self, program: str, arguments: tuple[str, ...], stdin: str | None) -> str:
        home = self.directory / program  # not the user's own caches and plugins
        done = subprocess.run(
            [tools.ensure(program), *arguments],
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            env=os.environ
            | {
                "KUBECONFIG": str(self.kubeconfig),
                "KUBECACHEDIR": str(home / "cache"),
                "HELM_CACHE_HOME": str(home / "cache"),
                "HELM_CONFIG_HOME": str(home / "config"),
                "HELM_DATA_HOME": str(home / "data"),
            },
        )
        if done.returncode:
            shown = shlex.join([program, *arguments])
            raise CommandError(shown, done.returncode, done.stderr)
        return done.stdout


def is_established(crd: Mapping[str, Any]) -> bool:
    """Return whether the API server serves a CRD, which at first has null as its conditions."""
    conditions = (crd.get("status") or {}).get("conditions") or ()
    return any((each["type"], each["status"]) == ("Established", "True") for each in conditions)


def named_kubeconfig() -> Path | None:
    """Return the kubeconfig of the existing cluster that the environment names, if any."""
    named = os.environ.get(KUBECONFIG_VARIABLE)
    if not named:
        return None
    if not Path(named).is_file():
        raise SandboxError(f"{KUBECONFIG_VARIABLE} is {named}, which is no file")
    return Path(named).absolute()


def _own(directory: Path | None) -> Path:
    """Return a directory that may be removed at the end."""
    if directory is None:
        return Path(tempfile.mkdtemp(prefix="troth-sandbox-"))
    if directory.exists() and any(directory.iterdir()):
        raise SandboxError(f"{directory} is not empty, and would be removed in the end")
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)  # it holds private keys and etcd's socket
    return directory.absolute()
