"""Shares: a part that stays below its own is never cut, whatever the others are."""

from hypothesis import given
from hypothesis import strategies as st

from troth.trust.shares import level_of, without_room

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


@given(st.lists(st.lists(st.integers(1, 300), max_size=8), max_size=8), st.integers(0, 3000))
def test_newest_entries_above_the_level_have_no_room(parts: list[list[int]], room: int) -> None:
    named = [[(place, n, size) for n, size in enumerate(part)] for place, part in enumerate(parts)]
    left_out = set(without_room(named, room, lambda entry: entry[2]))
    kept = [[each for each in part if each not in left_out] for part in named]
    assert sum(size for part in kept for _, _, size in part) <= room
    assert all(part[: len(rest)] == rest for part, rest in zip(named, kept, strict=True))
    if sum(map(sum, parts)) <= room:
        assert not left_out
