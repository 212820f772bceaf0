"""Strategies of Avro schemas, and of values of a schema."""

from typing import Any

from hypothesis import strategies as st

NAMES = ["a", "b", "c"]
SYMBOLS = ["A", "B", "C"]
INTS = {"int": st.integers(-(2**31), 2**31 - 1), "long": st.integers(-(2**63), 2**63 - 1)}
PRIMITIVES: dict[str, st.SearchStrategy[Any]] = {
    "null": st.none(),
    "boolean": st.booleans(),
    **INTS,
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bytes": st.binary(max_size=4),
    "string": st.text(max_size=4),
}


@st.composite
def schemas(draw: st.DrawFn, depth: int = 3, names: tuple[str, ...] = ()) -> Any:
    """Draw a type, without a union at its top. Names of types are the paths to them."""
    kinds = ["primitive"] * 3 + ["enum", "fixed"]
    kinds += ["record", "array", "map"] if depth else []
    path = "_".join(("T", *names))
    match draw(st.sampled_from(kinds)):
        case "enum":
            symbols = draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, unique=True))
            made: dict[str, Any] = {"type": "enum", "name": path, "symbols": symbols}
            if draw(st.booleans()):
                made["default"] = symbols[0]
            return made
        case "fixed":
            return {"type": "fixed", "name": path, "size": draw(st.integers(0, 3))}
        case "array":
            return {"type": "array", "items": draw(any_type(depth - 1, (*names, "i")))}
        case "map":
            return {"type": "map", "values": draw(any_type(depth - 1, (*names, "v")))}
        case "record":
            return draw(records(depth - 1, names))
    return draw(st.sampled_from(sorted(PRIMITIVES)))


@st.composite
def any_type(draw: st.DrawFn, depth: int, names: tuple[str, ...]) -> Any:
    """Draw a type, often a union."""
    if draw(st.integers(0, 3)):
        return draw(schemas(depth, names))
    drawn = [draw(schemas(depth, (*names, str(n)))) for n in range(draw(st.integers(1, 3)))]
    branches: dict[str, Any] = {}
    for each in drawn:
        kind = each if isinstance(each, str) else each["type"]
        branches.setdefault(kind if kind in PRIMITIVES or "name" not in each else str(each), each)
    return list({_key(each): each for each in branches.values()}.values())


def _key(type_: Any) -> str:
    if isinstance(type_, str):
        return type_
    return str(type_.get("name", type_["type"]))


@st.composite
def records(draw: st.DrawFn, depth: int = 2, names: tuple[str, ...] = ()) -> dict[str, Any]:
    """Draw a record."""
    fields = []
    for name in draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True)):
        made = {"name": name, "type": draw(any_type(depth, (*names, name)))}
        if draw(st.booleans()):
            default = default_of(made["type"])
            if default is not NONE:
                made["default"] = default
        fields.append(made)
    return {"type": "record", "name": "_".join(("T", *names)), "fields": fields}


NONE = object()


def default_of(type_: Any) -> Any:
    """Return a default of a type, `NONE` for one that has none here."""
    if isinstance(type_, list):
        return default_of(type_[0])
    if isinstance(type_, str):
        simple = {"null": None, "boolean": False, "float": 0.5, "double": 0.5}
        return simple.get(type_, "" if type_ in ("string", "bytes") else 0)
    match type_["type"]:
        case "array":
            return []
        case "map":
            return {}
        case "enum":
            return type_["symbols"][0]
        case "fixed":
            return "\x00" * type_["size"]
    return NONE


def values(schema: Any) -> st.SearchStrategy[Any]:
    """Return the values of a schema without references."""
    if isinstance(schema, str):
        return PRIMITIVES[schema]
    if isinstance(schema, list):
        return st.one_of([values(each) for each in schema])
    match schema["type"]:
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "fixed":
            return st.binary(min_size=schema["size"], max_size=schema["size"])
        case "array":
            return st.lists(values(schema["items"]), max_size=3)
        case "map":
            return st.dictionaries(st.sampled_from(NAMES), values(schema["values"]), max_size=2)
        case "record":
            return st.fixed_dictionaries(
                {each["name"]: values(each["type"]) for each in schema["fields"]}
            )
    return PRIMITIVES[schema["type"]]


@st.composite
def schema_and_value(draw: st.DrawFn) -> tuple[dict[str, Any], Any]:
    """Draw a record and a value of it."""
    schema = draw(records())
    return schema, draw(values(schema))
