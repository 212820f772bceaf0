"""The sandbox's node as demos, tests and benchmarks use it."""

import json
import os
import socket
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from sandbox.closing import Closing
from sandbox.errors import SandboxError
from sandbox.node.settings import CONTROL_SOCKET
from sandbox.node.workload import TIMEOUT_SECONDS, Files, Outcome, Target, Workload

# Number of pods that call at once. It keeps a machine of two processors busy without overloading
# it: a call that waits for a processor would look lost.
CALLERS = 8


class Node(Closing):
    """The one node of a sandbox.

    The sandbox's directory is enough to find it, so other processes can use it too.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._workloads: dict[str, Workload] = {}

    @classmethod
    def of(cls, kubeconfig: Path) -> Self | None:
        """Return the node of the sandbox with that administrator's kubeconfig, if it has one."""
        directory = kubeconfig.parent
        return cls(directory) if (directory / CONTROL_SOCKET).is_socket() else None

    def workload(self, pod: str) -> Workload:
        """Return the workload of a pod, "namespace/name", or of an outsider, "name".

        Raises `SandboxError` if it does not run.
        """
        known = self._workloads.get(pod)
        if known and known.ended:  # there may be a new pod of that name
            known.close()
            known = None
        if known is None:
            namespace, _, name = pod.rpartition("/")
            channel = self._handed_over(do="open", namespace=namespace, name=name)
            known = self._workloads[pod] = Workload(channel)
        return known

    def probe(
        self,
        calls: Mapping[str, Sequence[Target]],
        *,
        present: Mapping[str, Files] | None = None,
        concurrency: int = 8,
        timeout: float = TIMEOUT_SECONDS,
    ) -> dict[str, list[Outcome]]:
        """Make the calls of many pods; return their outcomes in the same order.

        `present` has the files of those pods that are to use other files than their own.
        """

        def made(pod: str) -> list[Outcome]:
            return self.workload(pod).call(
                calls[pod],
                present=(present or {}).get(pod),
                concurrency=concurrency,
                timeout=timeout,
            )

        with ThreadPoolExecutor(CALLERS) as threads:
            return dict(zip(calls, threads.map(made, calls), strict=True))

    def add_outsider(self, name: str, address: str, *arguments: str) -> Workload:
        """Start a workload outside the cluster, which has an address but is no Pod.

        `arguments` are the workload's, for example "--plain", "web=80".
        """
        self._ask(do="outsider", name=name, address=address, arguments=["serve", *arguments])
        return self.workload(name)

    def caught_up(self) -> None:
        """Return once all policies declared before this call are in the packet filter."""
        self._ask(do="caught_up")

    def load_image(self, archive: Path) -> None:
        """Load the image of an archive, as `docker save` writes it, into the node.

        Pods use it by its name in the archive, with `imagePullPolicy: Never`. Raises `SandboxError`
        if the archive is not readable or the node runs process pods.
        """
        self._ask(do="load_image", archive=str(archive.absolute()))

    def switch_firewall(self, *, on: bool) -> None:
        """Enforce all NetworkPolicies, or none."""
        self._ask(do="firewall", on=on)

    def firewall_rules(self) -> str:
        """Return the packet filter's current table."""
        return str(self._ask(do="rules")["rules"])

    def delay_projections(self, least: float, most: float | None = None) -> None:
        """Delay the updates of mounted Secrets and ConfigMaps from now on.

        The delay is `least` seconds, or a random time between `least` and `most`.
        """
        self._ask(do="delay", least=least, most=least if most is None else most)

    def close(self) -> None:
        """Close the connections to workloads."""
        while self._workloads:
            self._workloads.popitem()[1].close()

    def _ask(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401  JSON is what it is
        with self._connection() as connection, connection.makefile("rwb") as lines:
            lines.write(json.dumps(request).encode() + b"\n")
            lines.flush()
            return _checked(lines.readline())

    def _handed_over(self, **request: str) -> socket.socket:
        with self._connection() as connection:
            connection.sendall(json.dumps(request).encode() + b"\n")
            message, descriptors, _, _ = socket.recv_fds(connection, 4096, 1)
            _checked(message)
            return socket.socket(fileno=descriptors[0])

    def _connection(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            # Connect through the open directory: a socket's path may have at most 107 characters.
            directory = os.open(self._directory, os.O_PATH)
            try:
                connection.connect(f"/proc/self/fd/{directory}/{CONTROL_SOCKET}")
            finally:
                os.close(directory)
        except OSError as error:
            connection.close()
            raise SandboxError(f"the sandbox in {self._directory} has no node: {error}") from error
        return connection


def _checked(line: bytes) -> dict[str, Any]:
    if not line:
        raise SandboxError("the node has ended; its log says why")
    answer: dict[str, Any] = json.loads(line)
    if problem := answer.get("error"):
        raise SandboxError(problem)
    return answer
