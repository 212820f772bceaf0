"""Paths of the fields that a model reads and writes, and of those that a CRD has.

A path is written as `spec.accepts[].from.name`, with `[]` for the items of a list and `{}` for the
values of a map. A value of an enumeration is `spec.mode=Observe`.
"""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from troth.resources.schema.model import Model, spelled

ANYTHING = "*"
"""Last part of the path of an object in which the API server keeps unknown fields."""
_PRESERVES = "x-kubernetes-preserve-unknown-fields"


def fields_of_model(model: type[Model], path: str = "") -> Iterator[str]:
    """Yield the paths of a model's fields and of all models below it."""
    for name, field in model.model_fields.items():
        below = f"{path}.{spelled(name)}".removeprefix(".")
        yield below
        yield from _of_annotation(field.annotation, below)


def _of_annotation(annotation: Any, path: str) -> Iterator[str]:  # noqa: ANN401 - any type form
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _of_annotation(arguments[0], path)
    elif origin in (Union, UnionType):
        for each in arguments:
            yield from _of_annotation(each, path)
    elif origin is Literal:
        yield from (f"{path}={each}" for each in arguments)
    elif origin in (tuple, list, frozenset):
        yield from _of_annotation(arguments[0], f"{path}[]")
    elif origin in (dict, Mapping):
        yield from _of_annotation(arguments[1], f"{path}{{}}")
    elif isinstance(annotation, type) and issubclass(annotation, Model):
        yield from fields_of_model(annotation, path)
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        yield from (f"{path}={each.value}" for each in annotation)


def fields_of_schema(schema: Any, path: str = "") -> Iterator[str]:  # noqa: ANN401 - from outside
    """Yield the paths of a structural schema's fields. Of what is malformed, nothing is yielded."""
    if not isinstance(schema, dict):
        return
    if schema.get(_PRESERVES) is True:
        yield path + ANYTHING
    properties = schema.get("properties")
    for name, part in (properties if isinstance(properties, dict) else {}).items():
        below = f"{path}.{name}".removeprefix(".")
        yield below
        yield from fields_of_schema(part, below)
    values = schema.get("enum")
    yield from (f"{path}={each}" for each in (values if isinstance(values, list) else ()))
    yield from fields_of_schema(schema.get("items"), f"{path}[]")
    yield from fields_of_schema(schema.get("additionalProperties"), f"{path}{{}}")


def missing(wanted: Iterable[str], present: Iterable[str]) -> list[str]:
    """Return the wanted paths that are not present, sorted, without those below a missing one.

    A present enumeration lacks the values that it does not list; a field without an enumeration
    has every value.
    """
    found = frozenset(present)
    kept = [each.removesuffix(ANYTHING) for each in found if each.endswith(ANYTHING)]
    listed = {each.partition("=")[0] for each in found if "=" in each}
    lacks: list[str] = []
    for path in sorted(set(wanted) - found):
        field, is_value, _ = path.partition("=")
        known = is_value and field not in listed
        if not known and not any(_is_below(path, each) for each in (*kept, *lacks)):
            lacks.append(path)
    return lacks


def _is_below(path: str, above: str) -> bool:
    """Return whether a path is of a part of a field; "" is the whole object."""
    return not above or path.startswith(tuple(above + mark for mark in ".[{="))


def fields_of_resource(model: type[Model]) -> frozenset[str]:
    """Return the paths of the fields of a resource's `spec` and `status`."""
    parts = ("spec", "status")
    return frozenset(
        path
        for path in fields_of_model(model)
        if path in parts or any(_is_below(path, part) for part in parts)
    )


def fields_of_crd(manifest: Mapping[str, Any], version: str) -> frozenset[str]:
    """Return the paths of the fields that a CustomResourceDefinition has in a version.

    It has none if it does not serve the version.
    """
    spec = manifest.get("spec")
    versions = spec.get("versions") if isinstance(spec, dict) else None
    for each in versions if isinstance(versions, list) else ():
        if isinstance(each, dict) and each.get("name") == version and each.get("served") is True:
            return frozenset(fields_of_schema((each.get("schema") or {}).get("openAPIV3Schema")))
    return frozenset()
