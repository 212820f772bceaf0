"""Finds the file and line of a field in manifests."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import yaml

from troth.cli.inputs.sources import manifest_files
from troth.resources.references import Ref

Step = str | int


class Lines:
    """Positions of the resources in a set of files."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[str, Ref], tuple[Path, yaml.Node]] = {}

    @classmethod
    def of(cls, files: Iterable[Path]) -> "Lines":
        """Read files and folders; skip files that are not YAML."""
        lines = cls()
        for path in files:
            for file in manifest_files(path):
                try:
                    found = list(_resources(file.read_text()))
                except (OSError, UnicodeDecodeError, yaml.YAMLError):
                    continue
                for place, node in found:
                    lines._nodes[place] = file, node
        return lines

    def find(self, kind: str, ref: Ref, steps: Iterable[Step]) -> str | None:
        """Return `file:line` of a field of a resource, None if no file has the resource.

        For a field merged in from elsewhere, return the line of the closest enclosing entry.
        """
        found = self._nodes.get((kind, ref))
        if found is None:
            return None
        file, node = found
        for step in steps:
            below = _below(node, step)
            if below is None:
                break
            node = below
        return f"{file}:{node.start_mark.line + 1}"


def _resources(text: str) -> Iterator[tuple[tuple[str, Ref], yaml.Node]]:
    for document in yaml.compose_all(text, yaml.SafeLoader):
        yield from _resource(document)


def _resource(node: yaml.Node | None) -> Iterator[tuple[tuple[str, Ref], yaml.Node]]:
    if node is None:
        return
    items = _below(node, "items")
    if isinstance(items, yaml.SequenceNode):
        for item in items.value:
            yield from _resource(item)
        return
    metadata = _below(node, "metadata")
    kind, name = _text(node, "kind"), _text(metadata, "name")
    if kind and name:
        yield (kind, Ref(_text(metadata, "namespace") or "default", name)), node


def _below(node: yaml.Node | None, step: Step) -> yaml.Node | None:
    match node, step:
        case yaml.MappingNode(), str():
            return next((value for key, value in node.value if key.value == step), None)
        case yaml.SequenceNode(), int() if step < len(node.value):
            below: yaml.Node = node.value[step]
            return below
        case _:
            return None


def _text(node: yaml.Node | None, name: str) -> str:
    below = _below(node, name)
    return below.value if isinstance(below, yaml.ScalarNode) else ""
