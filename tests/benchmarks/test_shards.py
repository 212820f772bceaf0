"""Two processes with a shard each converge, and a process that fails ends the benchmark."""

import pytest

from benchmarks.fleet import shards
from benchmarks.fleet.shards import Ring, ShardError
from troth.resources.references import Ref
from troth.world.keys import identity_key
from troth.world.shards import shard_of

RING = Ring(identities=8, namespaces=4)


def test_ring_has_identities_in_both_shards() -> None:
    names = [f"s{number}" for number in range(RING.identities)]
    keys = [identity_key(Ref(RING.namespace(name), name)) for name in names]
    assert {shard_of(key, 2) for key in keys} == {0, 1}


def test_two_processes_converge_with_a_shard_each() -> None:
    (report,) = shards.reports(RING.identities, RING.namespaces, rounds=1)
    (row,) = report.rows
    assert len(row.troth) == len(row.floor) == 1


def test_process_that_is_not_ready_in_time_fails_with_the_number_of_its_identities() -> None:
    with pytest.raises(
        ShardError, match=r"shard \d: ShardError: \d of \d identities are not ready"
    ):
        shards.measured(RING, 2, patience=0.0)
