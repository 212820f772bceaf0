"""The operator of a benchmark has the claim of its cluster."""

import asyncio
from typing import cast

from benchmarks.harness.claim import held_claim
from benchmarks.simulation.store import Store
from sandbox.demo.programs import NAMESPACE
from tests import virtual_time
from troth.cluster.api import ApiServer
from troth.cluster.leases.claim import Claim
from troth.cluster.leases.lease import Timing


def test_operator_of_a_benchmark_does_not_wait_before_it_acts() -> None:
    async def story() -> None:
        store = Store()
        store.put(held_claim())
        loop = asyncio.get_running_loop()
        claim = Claim(
            cast("ApiServer", store),
            NAMESPACE,
            Timing(),
            is_gone=lambda _: False,
            monotonic=loop.time,
        )
        task = asyncio.create_task(claim.run())
        await asyncio.sleep(0.1)
        assert claim.holds
        task.cancel()

    virtual_time.run(story())
