"""All public text of Troth, in sorted lists without places.

From the code it takes every string except docstrings, which only readers of the code see; formatted
values are written as {}. Modules and counts are left out, so moving code changes nothing here.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.cli.commands import command_tree
from troth.resources.kinds import EVERY_KIND
from troth.resources.schema.crd import custom_resource_definition

ROOT = Path(__file__).parents[2]
CODE = ROOT / "operator" / "troth"
CHART = ROOT / "charts" / "troth"
_LOGS = ("log", "_log", "logger")
_LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
_METRICS = re.compile("Counter|Gauge|Histogram|Summary|.*MetricFamily")
_LABELS = ("labels", "labelnames", "buckets")
_WORD = re.compile(r"[A-Z][a-z]+(?:[A-Z][A-Za-z]*)*")
_MODULE = re.compile(r"troth(\.(?!dev\b)[a-z_]+)+")
_TECHNICAL = re.compile(r"[^ ]*(?:troth|/|\.)[^ ]*")


def texts() -> dict[str, list[str]]:
    """Return every text by its kind, sorted."""
    found = {
        "command line": set(_commands()),
        "custom resources": set(_resources()),
        "chart": set(_chart()),
        **_in_code(),
    }
    return {name: sorted(each) for name, each in sorted(found.items())}


def _commands() -> Iterator[str]:
    yield from _command("troth", command_tree())


def _command(path: str, command: Any) -> Iterator[str]:
    yield f"{path}: {command.help}"
    for each in command.params:
        names = " ".join([*each.opts, *each.secondary_opts])
        told = getattr(each, "help", None)
        default = getattr(each.default, "value", each.default)
        default = "computed" if callable(default) else f"{default}"
        shown = f"(metavar {each.metavar}, required {each.required}, default {default!r})"
        yield f"{path} {names}: {told} {shown}"
    for name, below in getattr(command, "commands", {}).items():
        yield from _command(f"{path} {name}", below)


def _resources() -> Iterator[str]:
    for kind in EVERY_KIND:
        yield from _schema(kind.name, custom_resource_definition(kind)["spec"])


def _schema(path: str, value: Any) -> Iterator[str]:
    """Yield descriptions, CEL messages, and printer columns, each with its field."""
    if isinstance(value, list):
        for each in value:
            named = f"{path}[{each['name']}]" if isinstance(each, dict) and "name" in each else path
            yield from _schema(named, each)
    if not isinstance(value, dict):
        return
    for name, member in value.items():
        if name in ("description", "message", "rule", "jsonPath") and isinstance(member, str):
            yield f"{path} {name}: {member}"
        elif name in ("properties", "schema", "openAPIV3Schema", "items", "additionalProperties"):
            yield from _schema(path, member)
        elif name in ("shortNames", "categories", "enum", "default", "pattern"):
            yield f"{path} {name}: {member}"
        else:
            yield from _schema(f"{path}.{name}", member)


def _chart() -> Iterator[str]:
    notes = CHART / "templates" / "NOTES.txt"
    yield from (f"notes: {line}" for line in notes.read_text().splitlines() if line.strip())
    for line in (CHART / "values.yaml").read_text().splitlines():
        if "#" in line:
            yield f"values: {line.strip()}"
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    yield from (f"values schema: {each}" for each in _schema("", schema))
    for file in sorted((CHART / "templates").iterdir()):
        yield from (f"failure: {each}" for each in re.findall(r'fail "([^"]*)"', file.read_text()))


def _in_code() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {
        name: set() for name in ("sentences", "words", "log events", "metrics", "names")
    }
    for file in CODE.rglob("*.py"):
        if file.parent.name != "reasons":  # its words are those of other modules
            _Reader(found).visit(ast.parse(file.read_text()))
    return found


class _Reader(ast.NodeVisitor):
    """Collects the strings of one module."""

    def __init__(self, found: dict[str, set[str]]) -> None:
        self._found = found

    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # skip docstrings
            self.generic_visit(node)

    def visit_Import(self, node: ast.Import) -> None:
        """Skip imports, because a move changes them."""

    def visit_Assign(self, node: ast.Assign) -> None:
        if not any(isinstance(each, ast.Name) and each.id == "__all__" for each in node.targets):
            self.visit(node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self._annotation(node.annotation)
        if node.value is not None:
            self.visit(node.value)

    def visit_arg(self, node: ast.arg) -> None:
        if node.annotation is not None:
            self._annotation(node.annotation)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for each in (*node.decorator_list, node.args, *node.body):
            self.visit(each)

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the name comes from `ast`

    def _annotation(self, node: ast.expr) -> None:
        """Visit calls in an annotation, such as a rule with its message, and no types."""
        for each in ast.walk(node):
            if isinstance(each, ast.Call):
                self.visit(each)

    def visit_Call(self, node: ast.Call) -> None:
        called, first = node.func, _template(node.args[0]) if node.args else None
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        of = called.value if isinstance(called, ast.Attribute) else None
        if isinstance(of, ast.Name) and of.id in _LOGS and name in _LEVELS and first is not None:
            fields = " ".join(sorted(each.arg for each in node.keywords if each.arg))
            self._found["log events"].add(f"{name}: {first} {{{fields}}}")
        if _METRICS.fullmatch(name) and first:
            told = _template(node.args[1]) if len(node.args) > 1 else None
            written = (ast.List, ast.Tuple)
            labels = [each for each in node.args[2:3] if isinstance(each, written)]
            named = [each.value for each in node.keywords if each.arg in _LABELS]
            shown = " ".join(_labels(each) for each in [*labels, *named])
            self._found["metrics"].add(f"{name}: {first} | {told} | {shown}")
        self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._add(_template(node) or "")
        for each in node.values:
            if isinstance(each, ast.FormattedValue):
                self.visit(each.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        text = _template(node)
        if text is None:
            self.generic_visit(node)
        else:
            self._add(text)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str):
            self._add(node.value)

    def _add(self, text: str) -> None:
        if _WORD.fullmatch(text):
            self._found["words"].add(text)
        elif re.search(r"[A-Za-z] |\} [a-z]| [a-z]+ ", text):
            self._found["sentences"].add(text)
        elif _TECHNICAL.fullmatch(text) and not _MODULE.fullmatch(text):
            self._found["names"].add(text)


def _labels(node: ast.expr) -> str:
    """Return literal labels or buckets, without the names of constants."""
    within = ast.walk(node)
    return " ".join(str(each.value) for each in within if isinstance(each, ast.Constant))


def _template(node: ast.expr) -> str | None:
    """Return a string with {} for formatted values; None if the node is no string."""
    match node:
        case ast.Constant(value=str()):
            return str(node.value)
        case ast.JoinedStr():
            parts = (
                str(each.value) if isinstance(each, ast.Constant) else "{}" for each in node.values
            )
            return "".join(parts)
        case ast.BinOp(op=ast.Add()):
            sides = [_template(node.left), _template(node.right)]
            if any(side is not None for side in sides):
                return "".join("{}" if side is None else side for side in sides)
    return None
