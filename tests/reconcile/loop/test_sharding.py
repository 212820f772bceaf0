"""Which shards a replica has gained and lost."""

from troth.reconcile.loop.sharding import Sharding


class Fence:
    remaining = 1.0


def sharding() -> Sharding:
    return Sharding(Fence(), [Fence()] * 3)


def test_shard_is_lost_once_the_work_in_it_has_ended() -> None:
    shards = sharding()
    assert shards.change(frozenset({0, 1}), lambda _: True) == (frozenset({0, 1}), frozenset())
    assert shards.change(frozenset({0}), lambda _: False) == (frozenset(), frozenset())
    assert shards.change(frozenset({0}), lambda _: True) == (frozenset(), frozenset({1}))
    assert shards.change(frozenset({0}), lambda _: True) == (frozenset(), frozenset())


def test_shard_that_comes_back_before_its_work_has_ended_is_not_lost() -> None:
    shards = sharding()
    shards.change(frozenset({0, 1}), lambda _: True)
    shards.change(frozenset({0}), lambda _: False)
    assert shards.change(frozenset({0, 1}), lambda _: True) == (frozenset({1}), frozenset())


def test_lapse_loses_nothing_that_comes_back() -> None:
    shards = sharding()
    shards.change(frozenset({0, 1}), lambda _: True)
    assert shards.change(frozenset(), lambda _: True) == (frozenset(), frozenset())
    assert shards.change(frozenset({1}), lambda _: True) == (frozenset({1}), frozenset({0}))
