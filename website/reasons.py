"""The page that lists the reasons of conditions, written from the table of reasons."""

from collections.abc import Iterable, Mapping

from troth.planning.reasons.condition import INTERNAL_ERROR, ConditionType
from troth.planning.verdicts import READY

HEADER = "<!-- Generated from the table of reasons by `make crds`. Do not edit. -->\n"

_HEAD = """\
# Reasons of conditions

`Ready` is False with the reason of the first condition that it depends on and that is not True. If
the reason ends without manual action, the resource is `Reconciling`, and otherwise `Stalled`.
kstatus, Flux and Argo CD distinguish the two. A row named `Ready` has reasons that no other
condition shows. In addition, every condition can have the reason `InternalError`, which is a bug in
Troth, and `Ready` of every kind can have `InvalidSpec` or `Terminating`.

[Conditions and failures](conditions.md) explains the reasons that several kinds share. Reasons of
[edges](../edges.md#reasons), [brokers and policies](brokers.md), [tokens](tokens.md#conditions),
[webhooks](webhooks.md#conditions) and [rotations](rotation.md) are on their own pages.
"""


def reasons_page(kinds: Mapping[str, Iterable[ConditionType]]) -> str:
    """Return the page: a table of the conditions of each kind."""
    sections = (_section(kind, conditions) for kind, conditions in kinds.items())
    return f"{HEADER}\n{_HEAD}\n" + "\n".join(sections)


def _section(kind: str, conditions: Iterable[ConditionType]) -> str:
    rows = "".join(map(_row, conditions))
    return (
        f"## {kind}\n\n| condition | if True | ends without manual action | needs manual action |\n"
        f"| --- | --- | --- | --- |\n{rows}"
    )


def _row(condition: ConditionType) -> str:
    ends = condition.passes | condition.soon
    columns = (condition.met, ends, condition.stays - {INTERNAL_ERROR})
    cells = (", ".join(f"`{each}`" for each in sorted(column)) for column in columns)
    name = condition.name if condition.listed else READY
    return f"| `{name}` | {' | '.join(cells)} |\n"
