"""Fields that evidence names, as steps into a manifest."""

from collections.abc import Iterator
from typing import Any

from troth.resources.faults import Step


def steps_of(manifest: dict[str, Any], path: str) -> tuple[Step, ...]:
    """Return the steps of a path such as `spec.template.spec.containers[0].env[2]`.

    A key may have dots, as the name of an annotation has, and may stand in brackets. The steps end
    where the manifest has no such field.
    """
    return tuple(_steps(manifest, path))


def _steps(value: Any, path: str) -> Iterator[Step]:  # noqa: ANN401 - JSON is anything
    rest = path
    while rest:
        step, rest = _next(value, rest.removeprefix("."))
        if step is None:
            return
        yield step
        value = value[step]


def _next(value: object, rest: str) -> tuple[Step | None, str]:
    """Return the first step of a path and what follows; no step if the value has none."""
    if rest.startswith("["):
        inside, _, after = rest[1:].partition("]")
        if isinstance(value, list):
            number = int(inside) if inside.isdecimal() and len(inside) < 9 else len(value)  # noqa: PLR2004
            return (number, after) if number < len(value) else (None, "")
        key = inside.strip("\"'")
        return (key, after) if isinstance(value, dict) and key in value else (None, "")
    if not isinstance(value, dict):
        return None, ""
    fitting = (
        key
        for key in value
        if rest.startswith(key) and (len(rest) == len(key) or rest[len(key)] in ".[")
    )
    found = max(fitting, key=len, default=None)
    return (None, "") if found is None else (found, rest[len(found) :])
