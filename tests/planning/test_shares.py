"""Shares: a part that stays below its own is never cut, whatever the others are."""

from hypothesis import given
from hypothesis import strategies as st

from troth.planning.shares import level_of

SIZES = st.lists(st.integers(0, 1000), min_size=1, max_size=20)


@given(SIZES, st.integers(0, 5000))
def test_parts_cut_to_the_level_fit_and_leave_no_room(sizes: list[int], room: int) -> None:
    level = level_of(sizes, room)
    used = sum(min(size, level) for size in sizes)
    assert used <= room
    if any(size > level for size in sizes):
        assert used + len(sizes) > room
    assert level >= room // len(sizes)


@given(SIZES, st.integers(0, 5000), st.integers(0, 100_000))
def test_part_within_its_share_is_not_cut(sizes: list[int], room: int, hostile: int) -> None:
    number = len(sizes) + 1
    level = level_of([*sizes, hostile], room)
    assert all(min(size, level) == size for size in sizes if size <= room // number)


def test_room_that_others_leave_free_belongs_to_anybody() -> None:
    assert level_of([10, 10, 1000], 100) == 80
    assert level_of([10, 60, 1000], 100) == 45
    assert level_of([], 100) == level_of([100], 100) == 100
