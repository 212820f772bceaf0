"""Nothing outside `troth.world` changes the world but through the methods that feed it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import troth

ROOT = Path(troth.__file__).parent
WORLDS = {"world", "_world"}
DOORS = {"observe", "observe_outcome", "forget", "forget_uid", "note_list", "distrust"}
MUTATORS = ("note_", "put", "drop", "forget", "refuse", "saw", "take")
OF_CONTAINERS = {
    *("append", "add", "discard", "remove", "pop", "popitem", "clear", "update", "setdefault"),
    *("extend", "insert", "move_to_end"),
}


def test_only_the_world_changes_the_world() -> None:
    modules = [path for path in ROOT.rglob("*.py") if ROOT / "world" not in path.parents]
    assert len(modules) > 300
    assert [each for path in modules for each in trespasses(path.read_text(), path.name)] == []


@pytest.mark.parametrize(
    "line",
    [
        "world.uptime = 3",
        "self._world.refused[place] = 'no'",
        "it.world.secrets |= {}",
        "del self.world.foreign[place]",
        "world.passing.add(place)",
        "self._world.brokers.note_observation(ref, look)",
        "brokers = world.brokers; brokers.note_observation(ref, look)",
        "one, known = 1, world.tokens.entries; known[ref] = 2",
        "world.note_foreign(kind, ref)",
        "self.world.registry.drop_identity(ref)",
    ],
)
def test_a_change_from_outside_is_found(line: str) -> None:
    assert list(trespasses(line, "x.py"))


@pytest.mark.parametrize(
    "line",
    [
        "self._world = world",
        "self.world = World()",
        "world.observe(manifest, 0.0)",
        "self._world.observe_outcome(outcome)",
        "known = world.secrets.get(ref)",
        "steps.append(world.secrets)",
    ],
)
def test_reading_and_feeding_are_no_change(line: str) -> None:
    assert not list(trespasses(line, "x.py"))


def trespasses(source: str, name: str) -> Iterator[str]:
    """Yield where a module assigns to a part of the world, or calls what changes one."""
    tree = ast.parse(source)
    aliases = set(_aliases(tree))
    for node in ast.walk(tree):
        found: list[ast.expr] = []
        match node:
            case ast.Assign(targets=targets) | ast.Delete(targets=targets):
                found = [each for each in targets if _is_part(each, aliases)]
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                found = [target] if _is_part(target, aliases) else []
            case ast.Call(func=ast.Attribute(value=value, attr=attr) as func):
                changes = attr in OF_CONTAINERS or attr.startswith(MUTATORS)
                direct = _name(value) in WORLDS
                of_world = direct or _is_part(value, aliases) or _name(value) in aliases
                if of_world and changes and not (direct and attr in DOORS):
                    found = [func]
        yield from (f"{name}:{each.lineno} {ast.unparse(each)}" for each in found)


def _is_part(node: ast.expr, aliases: set[str]) -> bool:
    """Say whether an expression is a part of a world, and not a world itself."""
    while isinstance(node, ast.Attribute | ast.Subscript):
        node = node.value
        if _name(node) in WORLDS or (isinstance(node, ast.Name) and node.id in aliases):
            return True
    return False


def _name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _aliases(tree: ast.AST) -> Iterator[str]:
    """Yield local names for parts of a world."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign):
            continue
        for target in node.targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            for one, value in pairs:
                if isinstance(one, ast.Name) and _is_part(value, set()):
                    yield one.id
