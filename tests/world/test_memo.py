"""Results are cached for the same facts."""

from troth.resources.references import Ref
from troth.world.memo import Memo

X, Y = Ref("shop", "x"), Ref("shop", "y")


def test_result_is_cached_for_the_same_facts_only() -> None:
    remembered, worked = Memo(), []
    facts, equal = ["a"], ["a"]

    def work() -> int:
        worked.append(1)
        return len(worked)

    assert [remembered.of("share", X, (facts, True), work) for _ in range(2)] == [1, 1]
    assert remembered.of("share", X, (equal, True), work) == 2, "not the same object"
    assert remembered.of("share", X, (equal, False), work) == 3
    assert remembered.of("share", Y, (equal, False), work) == 4, "of another resource"
    assert remembered.of("reach", X, (equal, False), work) == 5, "another result"
    assert remembered.of("share", X, (equal, False), work) == 3
    remembered.forget(X)
    assert remembered.of("share", X, (equal, False), work) == 6
    assert remembered.of("share", Y, (equal, False), work) == 4
    remembered.clear()
    assert remembered.of("share", Y, (equal, False), work) == 7
