"""Field selectors of lists and watches."""

from functools import lru_cache


@lru_cache
def requirements(fields: str) -> tuple[tuple[str, str, bool], ...]:
    """Return the requirements of a field selector: field, value, and whether it must differ."""
    parts = (each.partition("!=") for each in filter(None, fields.split(",")))
    return tuple(
        (field, value, True) if operator else (field.split("=")[0], field.split("=")[1], False)
        for field, operator, value in parts
    )
