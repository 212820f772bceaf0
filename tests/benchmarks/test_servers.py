"""The harness of servers: what is measured has a core of its own, if there are two."""

import os

from benchmarks.harness.cores import cores
from benchmarks.harness.servers import servers


def test_servers_and_their_load_stay_on_the_cores_that_were_free_at_first() -> None:
    core, load = cores()
    with servers() as running:
        assert running.core == core
        assert os.sched_getaffinity(0) == {load}
