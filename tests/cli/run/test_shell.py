"""The start of the operator, and what the log says of its end."""

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import structlog
import yaml
from structlog.testing import capture_logs

from troth.cli.run import shell as module
from troth.cli.run.shell import Options, Shell
from troth.cluster.crds import OutdatedCRDs
from troth.reconcile.operator import Operator

QUOTED = "c2VjcmV0"
OPTIONS = Options(None, None, "troth-system", "127.0.0.1", 0, 10.0, 1, rollouts=False)


@pytest.fixture(autouse=True)
def _fresh_logger(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the logger: one that another test used keeps its configuration."""
    structlog.reset_defaults()
    monkeypatch.setattr(module, "log", structlog.get_logger())


async def operator() -> None:
    """Fail as the operator does: in task groups."""

    async def fail(error: Exception) -> NoReturn:
        raise error

    async with asyncio.TaskGroup() as outer:
        inner = outer.create_task(fail(OutdatedCRDs("trustdomains.troth.dev")))
        outer.create_task(fail(ValueError(QUOTED)))
        assert not inner.done()


async def test_end_of_the_operator_is_logged_with_every_place_and_no_text() -> None:
    shell = Shell(OPTIONS)
    task = asyncio.create_task(operator())
    await asyncio.wait({task})
    with capture_logs() as logged:
        shell._ended(task)
    assert shell.failed
    (line,) = logged
    assert "OutdatedCRDs in test_shell.py:" in line["error"]
    assert "ValueError in test_shell.py:" in line["error"]
    assert "exc_info" not in line
    assert QUOTED not in str(line)


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """Return a kubeconfig of an API server that does not exist."""
    file = tmp_path / "kubeconfig"
    config = {
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "it", "user": {"token": "t"}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }
    file.write_text(yaml.safe_dump(config))
    return file


async def test_start_with_a_taken_health_port_fails_and_leaves_no_operator(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = asyncio.Event()

    async def runs(_: Operator) -> None:
        started.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Operator, "run", runs)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        options = replace(OPTIONS, kubeconfig=kubeconfig, port=taken.getsockname()[1])
        shell = asyncio.create_task(Shell(options).run())
        leads = asyncio.create_task(started.wait())
        await asyncio.wait({shell, leads}, return_when=asyncio.FIRST_COMPLETED)
        try:
            assert not started.is_set()
            with pytest.raises(OSError, match="address already in use"):
                await shell
        finally:
            shell.cancel()
            leads.cancel()
            await asyncio.wait({shell, leads})


async def test_operator_that_ends_ends_the_process(
    kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def runs(_: Operator) -> None:
        raise OutdatedCRDs("trustdomains.troth.dev")

    monkeypatch.setattr(Operator, "run", runs)
    shell = Shell(replace(OPTIONS, kubeconfig=kubeconfig))
    await shell.run()
    assert shell.failed
