"""Pages about the fields of each kind, written from its CustomResourceDefinition."""

import html
import json
from collections.abc import Iterable, Iterator
from typing import Any

from troth.resources.kinds import Kind
from troth.resources.metadata import GROUP, VERSION
from troth.resources.schema.crd import root_schema
from troth.resources.schema.rules import VALIDATIONS
from website.anchors import anchor

Schema = dict[str, Any]
HEADER = "<!-- Generated from the models by `make crds`. Do not edit. -->\n"


def index(kinds: Iterable[Kind]) -> str:
    """Return the page that lists the kinds."""
    rows = "\n".join(
        f"| [`{kind.name}`]({kind.plural}.md) | `{kind.short_name}` | {_scope(kind)} | "
        f"{_text(root_schema(kind.model)['description'])} |"
        for kind in kinds
    )
    return (
        f"{HEADER}\n# Resources\n\nAll kinds are of the API `{GROUP}/{VERSION}`. "
        "`kubectl explain` shows the same as these pages.\n\n"
        f"| kind | short name | scope | |\n| --- | --- | --- | --- |\n{rows}\n"
    )


def page(kind: Kind) -> str:
    """Return the page of a kind: a table of fields for each object in its spec and status."""
    schema = root_schema(kind.model)
    names = f"`{kind.plural}` or `{kind.short_name}`"
    lines = [
        HEADER,
        f"# {kind.name}\n",
        f"{_text(schema['description'])}\n",
        f"API `{GROUP}/{VERSION}`, scope {_scope(kind)}, in kubectl {names}.\n",
        *_rules(schema),
    ]
    for part in ("spec", "status"):
        for path, fields in _objects(part, schema["properties"].get(part, {})):
            lines += [f"## {path}\n", *_section(path, fields)]
    return "\n".join(lines)


def _objects(path: str, schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Yield each object with fields, with its path, outer objects first."""
    path, schema = _unwrapped(path, schema)
    if "properties" in schema:
        yield path, schema
        for name, field in schema["properties"].items():
            yield from _objects(f"{path}.{name}", field)


def _unwrapped(path: str, schema: Schema) -> tuple[str, Schema]:
    """Return the items of a list, or the values of a map, with their path."""
    while True:
        if "items" in schema:
            path, schema = f"{path}[]", schema["items"]
        elif isinstance(schema.get("additionalProperties"), dict):
            path, schema = f"{path}{{}}", schema["additionalProperties"]
        else:
            return path, schema


def _section(path: str, schema: Schema) -> Iterator[str]:
    if schema.get("description"):
        yield f"{_text(schema['description'])}\n"
    yield "| field | type | |\n| --- | --- | --- |"
    for name, field in schema["properties"].items():
        needed = " **Required.**" if name in schema.get("required", ()) else ""
        shown = f"{_text(field.get('description', ''))}{needed}{''.join(_details(field))}".strip()
        yield f"| `{name}` | {_type(f'{path}.{name}', field)} | {shown} |"
    yield ""
    yield from _rules(schema)


def _rules(schema: Schema) -> Iterator[str]:
    """Yield the rules of an object as a list."""
    if messages := [each["message"] for each in schema.get(VALIDATIONS, ())]:
        yield "Rules:\n"
        yield from (f"- {_text(message)}" for message in messages)
        yield ""


def _details(field: Schema) -> Iterator[str]:
    """Yield sentences about the default, the values and the rules of a field."""
    if "default" in field and "default" not in field.get("description", "").lower():
        yield f" Default: `{_value(field['default'])}`."
    _, item = _unwrapped("", field)
    if "enum" in item:
        yield f" One of {', '.join(f'`{_value(each)}`' for each in item['enum'])}."
    low, high = field.get("minimum"), field.get("maximum")
    if low is not None and high is not None:
        yield f" From {low} to {high}."
    elif low is not None:
        yield f" At least {low}."
    elif high is not None:
        yield f" At most {high}."
    if "maxItems" in field:
        yield f" At most {field['maxItems']} entries."
    rules = [*field.get(VALIDATIONS, ()), *(item.get(VALIDATIONS, ()) if item is not field else ())]
    if "properties" not in item and rules:
        yield "".join(f" Rule: {_text(rule['message'])}." for rule in rules)


def _type(path: str, field: Schema) -> str:
    """Return the type of a field, linked to the section about it if it has fields of its own."""
    inner, item = _unwrapped(path, field)
    base = item.get("format") or item.get("type", "any")
    shape = inner.removeprefix(path).replace("[]", "list of ").replace("{}", "map to ")
    return f"{shape}[{base}](#{anchor(inner)})" if "properties" in item else f"{shape}{base}"


def _scope(kind: Kind) -> str:
    return "namespace" if kind.namespaced else "cluster"


def _value(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    """Return a text in Markdown that shows it as it is, also in a table."""
    escaped = html.escape(text, quote=False)
    for character in ("\\", "|", "*", "_", "[", "`"):
        escaped = escaped.replace(character, f"\\{character}")
    return escaped
