"""The levels of `managedFields` that Troth's own kinds need, beside those that admission allows."""

from typing import Any

import pytest

from tests.cluster.chart import LEVELS, MEMBERS
from troth.resources.kinds import EVERY_KIND, Kind
from troth.resources.schema.crd import custom_resource_definition


def needs(schema: dict[str, Any]) -> tuple[int, int]:
    """Return the levels and the most members of one level that the fields of a value need."""
    if schema.get("x-kubernetes-list-type") == "atomic":
        return 0, 0
    if schema.get("x-kubernetes-map-type") == "atomic":
        return 0, 0
    below = list(schema.get("properties", {}).values())
    members = len(below)
    for name in ("items", "additionalProperties"):
        if isinstance(inside := schema.get(name), dict):
            below.append(inside)
            members = schema.get("maxItems", schema.get("maxProperties", MEMBERS + 1))
    found = [needs(each) for each in below]
    levels = 1 + max((levels for levels, _ in found), default=0)
    return levels, max([members, *(most for _, most in found)])


@pytest.mark.parametrize("kind", EVERY_KIND, ids=lambda kind: kind.name)
def test_own_kinds_need_less_than_admission_allows(kind: Kind) -> None:
    (version,) = custom_resource_definition(kind)["spec"]["versions"]
    properties = version["schema"]["openAPIV3Schema"]["properties"]
    for part in properties.keys() & {"spec", "status"}:
        levels, members = needs(properties[part])
        assert levels + 1 < LEVELS  # the field itself
        assert members < MEMBERS
