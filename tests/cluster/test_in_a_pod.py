"""The operator with only what a kubelet gives its pod, as the chart's Deployment runs it."""

import os
import subprocess
from pathlib import Path

import pytest

from sandbox.processes import Tether
from tests.cluster.process import Process
from tests.cluster.stage import DOMAIN, IDENTITY, Stage


def needs_a_mount_namespace() -> None:
    asked = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False)
    if os.geteuid() or asked.returncode:
        pytest.skip("a pod's files need a mount namespace, and that needs root")


async def test_operator_reaches_the_api_server_by_its_service_account(
    stage: Stage, tmp_path: Path
) -> None:
    needs_a_mount_namespace()
    await stage.domain()
    payments = await stage.identity("payments", ports=["https"])
    with Tether(tmp_path / "processes") as tether:
        tether.directory.mkdir()
        process = Process(tether, "pod", stage.kubeconfig, stage.own, as_in_a_pod=True)
        await process.ready()
        await process.leads()
        await stage.person.ready(IDENTITY, payments)
        await stage.person.ready(DOMAIN, await stage.domain())
        process.stop()
        assert "Traceback" not in process.output
