"""Troth's dependencies as `pyproject.toml` declares them, and the modules that they bring."""

import importlib.metadata
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def project() -> dict[str, Any]:
    """Return the table `project` of `pyproject.toml`."""
    declared: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return declared


def modules(*extras: str) -> set[str]:
    """Return the top-level modules that the base installation with these extras has."""
    needed = set(_closure("troth", extras))
    return {module for module, owners in _owners().items() if owners & needed}


def missing_modules(*extras: str) -> set[str]:
    """Return the top-level modules of this environment that such an installation lacks."""
    return set(_owners()) - modules(*extras)


@cache
def _owners() -> dict[str, set[str]]:
    """Return the distributions that have each top-level module of this environment."""
    owners = importlib.metadata.packages_distributions()
    return {
        module: set(map(canonicalize_name, names))
        for module, names in owners.items()
        if module != "__pycache__"  # where Python 3.13 sees the bytecode of single modules
    }


def _closure(name: str, extras: Iterable[str]) -> Iterator[str]:
    """Yield the names of a distribution with these extras and of all that it requires."""
    waiting, seen = [(name, extra) for extra in ("", *extras)], set[tuple[str, str]]()
    while waiting:
        each = waiting.pop()
        if each in seen:
            continue
        seen.add(each)
        yield each[0]
        for requirement in _requirements(each[0]):
            marker = requirement.marker
            if marker is None or marker.evaluate({"extra": each[1]}):
                required = canonicalize_name(requirement.name)
                waiting += [(required, extra) for extra in ("", *requirement.extras)]


@cache
def _requirements(name: str) -> tuple[Requirement, ...]:
    if name != "troth":
        return tuple(map(Requirement, importlib.metadata.requires(name) or ()))
    # The metadata of an editable installation are as old as the installation.
    declared = project()
    optional = (
        f'{text}; extra == "{extra}"'
        for extra, texts in declared["optional-dependencies"].items()
        if extra != "dev"
        for text in texts
    )
    return tuple(map(Requirement, (*declared["dependencies"], *optional)))
