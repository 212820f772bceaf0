"""The log says why the operator ended, without the text of an exception."""

import asyncio
from typing import NoReturn

import pytest
import structlog
from structlog.testing import capture_logs

from troth.cli.run import shell as module
from troth.cli.run.shell import Options, Shell
from troth.cluster.crds import OutdatedCRDs

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
