"""Label selectors in the form that Kubernetes uses."""

import re
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field, StringConstraints

from troth.resources.schema.lists import ATOMIC
from troth.resources.schema.model import Model, given
from troth.resources.schema.rules import Rule
from troth.resources.schema.scalars import LABEL

_NAME = "[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_KEY = rf"({LABEL}(\.{LABEL})*/)?{_NAME}"
_KEY_CEL = _KEY.replace("\\", "\\\\")
_PREFIX_LIMIT = 253
_VALUE = f"({_NAME})?"
_KEY_PATTERN = re.compile(_KEY, re.ASCII)
_VALUE_PATTERN = re.compile(_VALUE, re.ASCII)

_KEY_MESSAGE = "write a label key such as app or example.com/team"
_VALUE_MESSAGE = (
    "write a label value of up to 63 letters, digits, '-', '_' and '.', such as payments"
)


def _is_key(text: str) -> bool:
    return _KEY_PATTERN.fullmatch(text) is not None and text.find("/") <= _PREFIX_LIMIT


def _cel_is_key(key: str) -> str:
    return f"{key}.matches('^{_KEY_CEL}$') && {key}.indexOf('/') <= {_PREFIX_LIMIT}"


LabelValue = Annotated[
    str,
    StringConstraints(max_length=63),
    Rule(
        cel=f"self.matches('^{_VALUE}$')",
        message=_VALUE_MESSAGE,
        holds=lambda text: _VALUE_PATTERN.fullmatch(text) is not None,
    ),
]
LabelKey = Annotated[
    str,
    StringConstraints(min_length=1, max_length=317),
    Rule(cel=_cel_is_key("self"), message=_KEY_MESSAGE, holds=_is_key),
]
Labels = Annotated[
    dict[str, LabelValue],
    Field(max_length=16),
    BeforeValidator(given),
    Rule(
        cel=f"self.all(key, {_cel_is_key('key')})",
        message=_KEY_MESSAGE,
        holds=lambda labels: all(map(_is_key, labels)),
    ),
]


class Operator(StrEnum):
    """Relation of a label to the values of a requirement."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class Requirement(Model):
    """Requirement on one label."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
            message="set values with In and NotIn, and remove it with Exists and DoesNotExist",
            holds=lambda it: (it.operator in (Operator.IN, Operator.NOT_IN)) == bool(it.values),
        ),
    )

    key: LabelKey
    """Key of the label."""
    operator: Operator
    """Relation of the label to the values."""
    values: Annotated[
        tuple[LabelValue, ...],
        Field(max_length=8, json_schema_extra=ATOMIC),
    ] = ()
    """Values of the label. Required for In and NotIn, not allowed for Exists and DoesNotExist."""


class LabelSelector(Model):
    """Label selector. It needs at least one requirement, and an object must meet all of them."""

    model_config: ClassVar = {"json_schema_extra": {"x-kubernetes-map-type": "atomic"}}
    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="(has(self.matchLabels) && size(self.matchLabels) > 0) || "
            "(has(self.matchExpressions) && size(self.matchExpressions) > 0)",
            message="select by at least one label; an empty selector would select everything",
            holds=lambda it: bool(it.match_labels or it.match_expressions),
        ),
    )

    match_labels: Labels = Field(default_factory=dict)
    """Labels that an object must have, each with exactly this value."""
    match_expressions: Annotated[
        tuple[Requirement, ...],
        Field(max_length=8, json_schema_extra=ATOMIC),
    ] = ()
    """Further requirements. An object must meet all of them."""
