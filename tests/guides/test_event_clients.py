"""The programs of the page about clients of events import what exists, and call it correctly."""

import ast
import importlib
import inspect
from collections.abc import Iterator

import pytest

from tests.guides.pages import blocks, page

PROGRAMS = blocks(page("event-clients.md"), "python")


def imports(program: str) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from ((node.module, each.name) for each in node.names)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_program_of_the_guide_uses_the_library_as_it_is(number: int) -> None:
    program = PROGRAMS[number]
    found = {
        name: getattr(importlib.import_module(module), name) for module, name in imports(program)
    }
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in found:
            options = {each.arg: None for each in node.keywords if each.arg is not None}
            inspect.signature(found[node.func.id]).bind(*node.args, **options)


def test_guide_has_the_adapter_of_each_library() -> None:
    adapters = {module for program in PROGRAMS for module, _ in imports(program)}
    assert {
        "troth.edge.events.adapters.confluent",
        "troth.edge.events.adapters.aiokafka",
        "troth.edge.events.adapters.nats",
        "troth.edge.events.adapters.faststream.kafka",
    } <= adapters
