"""The servers of the benchmark of workers answer its load, and its growth is judged."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from benchmarks.harness.servers import Side
from benchmarks.tokens import issuer as tokens
from benchmarks.workers import server
from benchmarks.workers.bench import FLAT, growth
from benchmarks.workers.server import FLOORS, ISSUER
from sandbox.control_plane import free_port
from tests.webhooks.gateway.attacks.wire import eventually
from troth.issuer.serving import LIMITS


def side(*processor: float) -> Side:
    """Return a side whose rounds have ended: nobody connects to it again."""
    unused: Any = None
    return Side(1, unused, list, processor=list(processor))


@pytest.mark.parametrize(("second", "kept"), [(1.1, True), (1.2, False)])
def test_growth_with_a_second_worker_is_judged_and_shown_beside_that_of_a_bare_server(
    second: float, *, kept: bool
) -> None:
    program = {1: side(1.0, 1.0, 9.0), 2: side(second, second, 9.0)}
    bare = {1: side(0.5), 2: side(0.6)}
    own, machine, beside = growth(program, bare)
    assert (own.value, own.aim, own.kept) == (second, FLAT, kept)
    assert (machine.value, machine.aim) == (1.2, None)
    assert (beside.value, beside.aim) == (second / 1.2, None)


@pytest.mark.parametrize("program", [ISSUER, FLOORS[ISSUER]])
async def test_worker_of_the_issuer_answers_a_load_of_many_callers_with_one_address(
    program: str, tmp_path: Path
) -> None:
    workers, port = 16, free_port()
    caller = tokens.prepare(tmp_path)
    worker = server.server(program, workers, tmp_path, port)
    most = LIMITS.shared_by(workers).per_peer or 0

    def load() -> int:
        with tokens.connected(port, caller, connections=most + 1) as connections:
            requests = [tokens.request()] * len(connections.connections)
            connections.take(requests)
            return len(requests)

    serving = asyncio.create_task(worker.serve())
    try:
        await eventually(lambda: worker.started or serving.done())
        if serving.done():
            serving.result()
        assert await asyncio.to_thread(load) > most
    finally:
        worker.stop()
        await serving
