"""Subjects of NATS and their wildcards (docs.nats.io, "Subject-Based Messaging"). Pure.

`*` stands for one token, and a last `>` for one or more.
"""


def overlap(one: str, other: str) -> bool:
    """Return whether any subject matches both patterns."""
    first, second = one.split("."), other.split(".")
    for mine, theirs in zip(first, second, strict=False):
        if ">" in (mine, theirs):
            return True
        if mine != theirs and "*" not in (mine, theirs):
            return False
    return len(first) == len(second)


def covers(outer: str, inner: str) -> bool:
    """Return whether every subject that matches `inner` matches `outer`."""
    first, second = outer.split("."), inner.split(".")
    for mine, theirs in zip(first, second, strict=False):
        if mine == ">":
            return True
        if theirs == ">" or mine not in ("*", theirs):
            return False
    return len(first) == len(second)
