"""Results are cached for the same facts."""

from troth.world.memo import Memo


def test_result_is_cached_for_the_same_facts_only() -> None:
    remembered, worked = Memo(), []
    facts, equal = ["a"], ["a"]

    def work() -> int:
        worked.append(1)
        return len(worked)

    assert [remembered.of("x", (facts, True), work) for _ in range(2)] == [1, 1]
    assert remembered.of("x", (equal, True), work) == 2, "not the same object"
    assert remembered.of("x", (equal, False), work) == 3
    assert remembered.of("y", (equal, False), work) == 4, "of something else"
    assert remembered.of("x", (equal, False), work) == 3
    remembered.clear()
    assert remembered.of("x", (equal, False), work) == 5
