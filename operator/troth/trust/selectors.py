"""Label selectors: what they match, and whether two of them can match the same object."""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from troth.resources.selectors import LabelSelector, Operator


def matches(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Return whether the selector matches an object with these labels."""
    if any(labels.get(key) != value for key, value in selector.match_labels.items()):
        return False
    for requirement in selector.match_expressions:
        present = requirement.key in labels
        listed = present and labels[requirement.key] in requirement.values
        match requirement.operator:
            case Operator.IN:
                holds = listed
            case Operator.NOT_IN:
                holds = not listed
            case Operator.EXISTS:
                holds = present
            case Operator.DOES_NOT_EXIST:
                holds = not present
        if not holds:
            return False
    return True


@dataclass(slots=True)
class Demand:
    """Requirements of selectors on one label. `allowed` is None if they allow any value."""

    allowed: set[str] | None = None
    excluded: frozenset[str] = frozenset()
    must_exist: bool = False
    must_not_exist: bool = False

    def satisfiable(self) -> bool:
        """Return whether some value of the label, or its absence, meets all requirements."""
        present = self.allowed is None or bool(self.allowed - self.excluded)
        return not self.must_exist if self.must_not_exist else present

    def narrow(self, values: set[str]) -> None:
        """Require one of these values."""
        self.allowed = values if self.allowed is None else self.allowed & values
        self.must_exist = True


def demands(*selectors: LabelSelector) -> dict[str, Demand] | None:
    """Return the requirements of all selectors by label, None if no object can meet them all."""
    found: dict[str, Demand] = {}
    for selector in selectors:
        for key, value in selector.match_labels.items():
            found.setdefault(key, Demand()).narrow({value})
        for requirement in selector.match_expressions:
            demand = found.setdefault(requirement.key, Demand())
            match requirement.operator:
                case Operator.IN:
                    demand.narrow(set(requirement.values))
                case Operator.NOT_IN:  # also matches an absent label
                    demand.excluded |= frozenset(requirement.values)
                case Operator.EXISTS:
                    demand.must_exist = True
                case Operator.DOES_NOT_EXIST:
                    demand.must_not_exist = True
    return found if all(demand.satisfiable() for demand in found.values()) else None


def includes(wide: LabelSelector, narrow: LabelSelector) -> bool:
    """Return whether one selector matches every object that another one matches."""
    inner, outer = demands(narrow), demands(wide)
    if inner is None:
        return True  # it matches nothing
    if outer is None:
        return False
    return all(_implied(demand, inner.get(key, Demand())) for key, demand in outer.items())


def _implied(outer: Demand, inner: Demand) -> bool:
    """Return whether each value of a label that meets `inner`, or its absence, meets `outer`."""
    if outer.must_not_exist or inner.must_not_exist:
        return inner.must_not_exist and not outer.must_exist
    if outer.must_exist and not inner.must_exist:
        return False
    if inner.allowed is not None:
        values = inner.allowed - inner.excluded
        return values <= (values if outer.allowed is None else outer.allowed) - outer.excluded
    return outer.allowed is None and outer.excluded <= inner.excluded


def overlap(first: LabelSelector, second: LabelSelector) -> bool:
    """Return whether some set of labels matches both selectors.

    Requirements on different labels are independent, so the result is exact and needs no pods. Two
    selectors without a common label always overlap, because one pod may have both labels.
    """
    common = first.match_labels.keys() & second.match_labels.keys()
    if any(first.match_labels[key] != second.match_labels[key] for key in common):
        return False  # the usual case, decided without further work
    return demands(first, second) is not None


def conjunction(first: LabelSelector, second: LabelSelector) -> LabelSelector | None:
    """Return the selector of what both match, None if that is nothing or it would be too long."""
    if not overlap(first, second):
        return None
    more = tuple(each for each in second.match_expressions if each not in first.match_expressions)
    try:
        return LabelSelector(
            match_labels={**first.match_labels, **second.match_labels},
            match_expressions=(*first.match_expressions, *more),
        )
    except ValidationError:
        return None


def subsumed(selector: LabelSelector, labels: Mapping[str, str]) -> bool:
    """Return whether every object that the selector matches has all of these labels."""
    return bool(labels) and all(
        selector.match_labels.get(key) == value
        or any(
            requirement.key == key
            and requirement.operator is Operator.IN
            and set(requirement.values) == {value}
            for requirement in selector.match_expressions
        )
        for key, value in labels.items()
    )
