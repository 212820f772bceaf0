"""`troth run` as a separate process, which tests can kill."""

import base64
import contextlib
import os
import signal
import sys
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from sandbox.control_plane import free_port
from sandbox.processes import Tether, tail
from tests.cluster.person import until

CHECKOUT = Path(__file__).parents[2]
SOURCE = CHECKOUT / "operator"
QUICK = ("--lease-duration", "8s")


class Process:
    """One copy of the operator. It ends with the tether, also if the test fails.

    `as_in_a_pod` gives it the environment that the kubelet gives a pod, and no kubeconfig: the
    address of the API server in two variables, and its token and the CA's certificate in files.
    That needs root. `checkout` is the directory with the source of its version.
    """

    def __init__(
        self,
        tether: Tether,
        name: str,
        kubeconfig: Path,
        own: str,
        *options: str,
        as_in_a_pod: bool = False,
        module: str = "troth.cli",
        checkout: Path = CHECKOUT,
    ) -> None:
        self._tether = tether
        self._name = name
        self._log = tether.directory / f"{name}.log"
        self._port = free_port()
        program = [sys.executable, "-m", module, "run"]
        if as_in_a_pod:
            program, variables = in_a_pod(tether.directory, kubeconfig, program)
        else:
            program, variables = [*program, "--kubeconfig", str(kubeconfig)], {}
        self._pid = tether.start(
            name,
            [
                *program,
                *("--namespace", own, "--listen", f"127.0.0.1:{self._port}"),
                *(options or QUICK),
            ],
            log=self._log,
            cwd=checkout,
            env=os.environ
            | variables
            | {"PYTHONPATH": str(checkout / "operator"), "NO_COLOR": "1"},
        )

    @property
    def output(self) -> str:
        return self._log.read_text()

    @property
    def resident(self) -> float:
        """Its resident memory in MB."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        found = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(found.split()[1]) / 1024

    def kill(self) -> None:
        """Send SIGKILL: it does not shut down and does not release its lease."""
        self._tether.stop(self._name, grace=0)

    def freeze(self) -> None:
        """Send SIGSTOP: it does not run, and does not notice."""
        os.kill(self._pid, signal.SIGSTOP)

    def wake(self) -> None:
        """Send SIGCONT: it continues in the middle of its work."""
        os.kill(self._pid, signal.SIGCONT)

    def stop(self) -> None:
        """Send SIGTERM, as a kubelet does."""
        self._tether.stop(self._name, grace=10)

    async def ready(self) -> None:
        """Wait until its caches are in sync."""
        await until(lambda: self._get("readyz"), lambda text: text == "ok\n")

    async def leads(self) -> None:
        """Wait until it is the leader."""
        await until(self.leader, bool)

    async def leader(self) -> bool:
        """Return whether it is the leader."""
        return any(sample.name == "troth_leader" and sample.value for sample in await self._read())

    async def visited(self, least: int) -> None:
        """Wait until it has reconciled this number of resources."""

        async def visits() -> float:
            counted = "troth_reconcile_duration_seconds_count"
            return sum(sample.value for sample in await self._read() if sample.name == counted)

        await until(visits, lambda number: number >= least)

    async def requests(self) -> Counter[tuple[str, str]]:
        """Return its requests to the API server by verb and resource, except for its lease."""
        counted: Counter[tuple[str, str]] = Counter()
        for sample in await self._read():
            if sample.name == "troth_api_requests_total" and sample.labels["resource"] != "leases":
                counted[sample.labels["verb"], sample.labels["resource"]] += int(sample.value)
        return counted

    async def _read(self) -> list[Sample]:
        text = await self._get("metrics")
        families = text_string_to_metric_families(text)
        return [sample for family in families for sample in family.samples]

    async def _get(self, page: str) -> str:
        returncode = self._tether.poll(self._name)
        assert returncode is None, f"ended with {returncode}: {tail(self._log)}"
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self._port}/{page}") as response,
            ):
                return await response.text()
        return ""


ACCOUNT = "/run/secrets/kubernetes.io/serviceaccount"


def in_a_pod(
    directory: Path, kubeconfig: Path, program: list[str]
) -> tuple[list[str], dict[str, str]]:
    """Return the command and environment of a program in a pod of the kubeconfig's account."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster = config["clusters"][0]["cluster"]
    files = directory / "serviceaccount"
    files.mkdir()
    (files / "token").write_text(config["users"][0]["user"]["token"])
    authority = base64.b64decode(cluster["certificate-authority-data"])
    (files / "ca.crt").write_bytes(authority)
    address = urlsplit(cluster["server"])
    prepare = (
        f"mount -t tmpfs none /run && mkdir -p {ACCOUNT} && "
        f'mount --bind "$1" {ACCOUNT} && shift && exec "$@"'
    )
    return (
        ["unshare", "--mount", "sh", "-c", prepare, "sh", str(files), *program],
        {
            "KUBERNETES_SERVICE_HOST": str(address.hostname),
            "KUBERNETES_SERVICE_PORT": str(address.port),
        },
    )
