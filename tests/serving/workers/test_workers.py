"""Several processes behind one port: they start, answer, and end as one."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from sandbox.control_plane import free_port
from tests.serving.workers.running import (
    ROOT,
    get,
    get_from,
    gone,
    program_command,
    unready_workers,
    workers,
)
from tests.webhooks.gateway.attacks.wire import eventually


def held(directory: Path) -> int:
    """Number of requests that wait."""
    return len(list(directory.glob("held-*")))


def pid_of(directory: Path, worker: int) -> int:
    return int((directory / f"pid-{worker}").read_text())


async def test_connections_are_spread_over_the_workers(tmp_path: Path) -> None:
    async with workers(tmp_path, 3) as program:
        heard: Counter[str] = Counter()
        while set(heard) != {"1", "2", "3"}:
            heard[await get(program.port, "/")] += 1
        assert sum(heard.values()) < 1000


async def test_metrics_of_all_workers_add_up_exactly(tmp_path: Path) -> None:
    async with workers(tmp_path, 2) as program:
        heard = Counter([await get(program.port, "/") for _ in range(60)])
        for worker in ("1", "2"):
            heard[worker] += await get_from(program.port, int(worker), "/") == worker
        samples = await program.samples()
        total = {worker: samples["requests_total", labels(worker)] for worker in ("1", "2")}
        assert total["1"] >= heard["1"]
        assert total["2"] >= heard["2"]
        assert samples["paths_total", (("path", "/"),)] == sum(total.values())
        assert samples["seconds_count", ()] == sum(total.values())
        assert samples["seconds_sum", ()] == total["1"] + 2 * total["2"]
        assert samples["seconds_bucket", (("le", "1.0"),)] == total["1"]
        assert samples["seconds_bucket", (("le", "2.0"),)] == sum(total.values())
        assert samples["highest", ()] == 2
        assert samples["troth_event_loop_longest_stall_seconds", ()] >= 0


def labels(worker: str) -> tuple[tuple[str, str], ...]:
    return (("path", "/"), ("worker", worker))


async def test_readiness_waits_for_every_worker(tmp_path: Path) -> None:
    async with unready_workers(tmp_path, 2) as program:
        assert await program.page("readyz") == (503, "syncing\n")
        (tmp_path / "ready-1").touch()
        assert await program.page("readyz") == (503, "syncing\n")
        (tmp_path / "ready-2").touch()
        await program.becomes("readyz", 200)


async def test_one_stuck_worker_is_neither_alive_nor_ready(tmp_path: Path) -> None:
    async with workers(tmp_path, 2) as program:
        stuck = asyncio.create_task(get(program.port, "/stuck"))
        await eventually(lambda: held(tmp_path))
        # each of them waits for the worker as long as it may
        ready, alive, metrics = await asyncio.gather(
            *map(program.page, ("readyz", "healthz", "metrics"))
        )
        assert ready == alive == (503, "not responding\n")
        assert metrics == (503, "incomplete\n")
        (tmp_path / "open").touch()
        await stuck
        # late answers to the questions before are not taken for answers to these
        await program.becomes("healthz", 200)
        assert await program.page("readyz") == (200, "ok\n")
        assert (await program.page("metrics"))[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_loses_no_request_of_any_worker(
    number: signal.Signals, tmp_path: Path
) -> None:
    async with workers(tmp_path, 2) as program:
        requests = [asyncio.create_task(get(program.port, "/held")) for _ in range(24)]
        await eventually(lambda: held(tmp_path) == len(requests))
        os.kill(program.pid, number)
        await eventually(lambda: not program.listens)
        assert (await program.page("healthz"))[0] == 200  # it is alive until the last answer
        assert program.code is None
        (tmp_path / "open").touch()
        answers = await asyncio.gather(*requests)
        assert set(answers) == {"1", "2"}
        assert await program.ended() == 0
        assert not program.lines


async def test_a_killed_worker_ends_the_program_after_the_requests_of_the_others(
    tmp_path: Path,
) -> None:
    async with workers(tmp_path, 2) as program:
        other = asyncio.create_task(get_from(program.port, 2, "/held"))
        await eventually(lambda: held(tmp_path))
        os.kill(pid_of(tmp_path, 1), signal.SIGKILL)
        await program.becomes("readyz", 503)
        assert await program.page("metrics") == (503, "incomplete\n")
        (tmp_path / "open").touch()
        assert await other == "2"
        assert await program.ended() == 128 + signal.SIGKILL
        (line,) = (each for each in program.lines if each["event"] == "worker ended")
        assert (line["level"], line["worker"], line["code"]) == ("error", 1, -signal.SIGKILL)


async def test_the_program_ends_with_the_exit_code_of_the_worker_that_failed(
    tmp_path: Path,
) -> None:
    async with workers(tmp_path, 3) as program:
        with pytest.raises(aiohttp.ClientError):
            await get(program.port, "/fail")
        assert await program.ended() == 7


async def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    async with workers(tmp_path, 2) as program:
        os.kill(program.pid, signal.SIGKILL)
        for worker in (1, 2):
            await gone(pid_of(tmp_path, worker))


async def test_supervisor_that_cannot_listen_leaves_no_worker(tmp_path: Path) -> None:
    async with workers(tmp_path, 2) as first:
        second = tmp_path / "second"
        second.mkdir()
        command = program_command(second, 2, free_port(), first.health)
        process = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        assert process.returncode != 0
        assert b"address already in use" in said
        for each in second.glob("pid-*"):
            await gone(int(each.read_text()))
