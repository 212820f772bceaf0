"""`troth review` as a process: what it needs to start, what it may do, and how it ends."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from sandbox.control_plane import free_port
from sandbox.processes import Tether, tail
from tests.cluster.person import until
from tests.cluster.process import SOURCE
from tests.cluster.stage import Stage
from tests.review.api.serving import client_tls, worker_files
from troth.resources.references import Ref
from troth.review.worker import LEASE

NAME = "review"
VALUES = ("review.enabled=true",)
LETTERS = "/v1/namespaces/shop/policies/orders/deadletters"


class Process:
    """One `troth review` with the rights of the chart's ServiceAccount."""

    def __init__(self, tether: Tether, kubeconfig: Path, namespace: str, *options: str) -> None:
        self._tether = tether
        self._log = tether.directory / f"{NAME}.log"
        self._health = free_port()
        self.port = free_port()
        files = worker_files(tether.directory / "files")
        self._pid = tether.start(
            NAME,
            [
                *(sys.executable, "-m", "troth.cli", "review", f"--kubeconfig={kubeconfig}"),
                *(f"--namespace={namespace}", f"--identity={files.identity.path}"),
                *(f"--bundle={files.bundle.path}", f"--index={tether.directory / 'index'}"),
                f"--listen=127.0.0.1:{self.port}",
                *(f"--health-listen=127.0.0.1:{self._health}", "--log-format=json", *options),
            ],
            log=self._log,
            env=os.environ | {"PYTHONPATH": str(SOURCE), "NO_COLOR": "1"},
        )

    @property
    def output(self) -> str:
        return self._log.read_text()

    async def stop(self) -> None:
        """Send SIGTERM, as a kubelet does, and wait for the end."""
        os.kill(self._pid, signal.SIGTERM)
        await until(lambda: _ended(self), bool)

    @property
    def returncode(self) -> int | None:
        return self._tether.poll(NAME)

    async def ready(self) -> None:
        await until(lambda: self.page("readyz"), lambda text: text == "ok\n")

    async def page(self, name: str) -> str:
        """Return a page of its health server; empty while it does not listen."""
        assert self.returncode is None, tail(self._log)
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self._health}/{name}") as answer,
            ):
                return await answer.text()
        return ""

    async def asked(self, token: str) -> int:
        """Return the status code of the list API for a bearer token."""
        url = f"https://127.0.0.1:{self.port}{LETTERS}"
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers=headers, ssl=client_tls()) as answer,
        ):
            return answer.status


@pytest.fixture
def tether(tmp_path: Path) -> Iterator[Tether]:
    with Tether(tmp_path / "processes") as tied:
        tied.directory.mkdir()
        yield tied


async def test_worker_starts_serves_and_ends_with_the_rights_of_the_chart(
    stage: Stage, tether: Tether
) -> None:
    await stage.install(*VALUES)
    account = Ref(stage.own, "troth-review")
    kubeconfig = await stage.kubeconfig_of(account)
    worker = Process(tether, kubeconfig, stage.own)
    await worker.ready()
    lease = Ref(stage.own, LEASE)
    await stage.person.sees("Lease", lease, lambda each: each["spec"]["holderIdentity"])
    await stage.person.sees("ConfigMap", Ref(stage.own, "troth-review-audit-log"))
    # the head is written before the line
    await until(lambda: _printed(worker), lambda text: '"troth.dev/audit"' in text)
    assert await worker.asked("nobody") == 401
    assert await worker.asked(await stage.person.token(account)) == 403
    exported = await worker.page("metrics")
    for name in ("troth_audit_log_pending", "troth_review_api_requests", "troth_api_requests"):
        assert name in exported
    await worker.stop()
    assert worker.returncode == 0
    assert not (await stage.person.the("Lease", lease))["spec"].get("holderIdentity")


async def test_worker_without_an_identity_ends_with_a_message(stage: Stage, tether: Tether) -> None:
    missing = tether.directory / "missing"
    worker = Process(tether, stage.sandbox.kubeconfig, stage.own, f"--identity={missing}")
    await until(lambda: _ended(worker), bool)
    assert worker.returncode == 2
    assert f"{missing}: " in worker.output
    assert "Traceback" not in worker.output


async def _printed(worker: Process) -> str:
    return worker.output


async def _ended(worker: Process) -> bool:
    return worker.returncode is not None
