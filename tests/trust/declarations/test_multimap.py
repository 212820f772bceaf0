"""A multimap holds no key without a value."""

from troth.trust.multimap import Multimap


def test_key_ends_with_its_last_value() -> None:
    known = Multimap[str, int]()
    known.add("a", 1)
    known.add("a", 2)
    known.add("b", 1)
    assert known.of("a") == {1, 2}
    known.discard("a", 1)
    known.discard("a", 1)
    known.discard("c", 1)
    assert known.of("a") == {2}
    known.discard("a", 2)
    assert known.of("a") == frozenset()
    assert known.keys() == {"b"}
    assert dict(known.items()) == {"b": {1}}
