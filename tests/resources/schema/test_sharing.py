"""Equal parts of resources are one object in memory, and are validated as if they were not."""

import gc
import weakref
from typing import Annotated

import pytest
from pydantic import ValidationError

from troth.resources.schema.model import Model
from troth.resources.schema.sharing import shared


class Part(Model):
    """A part that objects have in common."""

    name: str
    weight: int = 0


class Whole(Model):
    """An object with parts."""

    parts: tuple[Annotated[Part, shared()], ...] = ()


def whole(*parts: object) -> Whole:
    return Whole.model_validate({"parts": list(parts)})


def test_equal_parts_of_two_objects_are_one_object() -> None:
    first, second = whole({"name": "a"}), whole({"name": "b"}, {"name": "a"})
    assert first.parts[0] is second.parts[1]
    assert second.parts[0] == Part(name="b")


def test_values_of_different_types_are_not_the_same_part() -> None:
    whole_number = whole({"name": "a", "weight": 1})
    with pytest.raises(ValidationError):
        whole({"name": 1, "weight": 1})
    assert whole({"name": "a", "weight": True}).parts[0] is not whole_number.parts[0]


def test_an_invalid_part_is_rejected_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ValidationError) as raised:
            whole({"name": "a"}, {"name": "b", "unknown": 1})
        assert raised.value.errors()[0]["loc"] == ("parts", 1, "unknown")


def test_a_part_is_forgotten_with_its_last_user() -> None:
    first, second = whole({"name": "a"}), whole({"name": "a"})
    part = weakref.ref(first.parts[0])
    del first
    gc.collect()
    assert part() is second.parts[0]
    del second
    gc.collect()
    assert part() is None


def test_a_part_that_is_a_model_already_is_taken_as_it_is() -> None:
    part = Part(name="a")
    assert Whole(parts=(part,)).parts[0] is part


def test_a_changed_copy_does_not_change_the_given_fields_of_other_objects() -> None:
    first, second = Part(name="a"), Part(name="b")
    assert first.model_fields_set is second.model_fields_set
    assert first.model_copy(update={"weight": 1}).model_fields_set == {"name", "weight"}
    assert second.model_fields_set == {"name"}
