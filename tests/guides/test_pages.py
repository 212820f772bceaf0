"""Every page in docs/: links resolve, manifests are valid, commands and values exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cli.commands import command_tree
from tests.guides.pages import DOCS, ROOT, anchors, blocks
from troth.resources.manifests import is_ours, parse_resource

AT_THE_TOP = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
TEXTS = [*DOCS.rglob("*.md"), *(ROOT / name for name in AT_THE_TOP)]
every_page = pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))


@every_page
def test_links_resolve(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text()):
        name, _, anchor = target.partition("#")
        other = (path.parent / name).resolve() if name else path
        assert other.exists(), target
        assert not anchor or anchor in anchors(other.read_text()), target


def test_every_page_is_reachable_from_the_index() -> None:
    reached, waiting = set[Path](), [DOCS / "README.md"]
    while waiting:
        path = waiting.pop()
        if path in reached or path.suffix != ".md":
            continue
        reached.add(path)
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            other = (path.parent / target).resolve()
            waiting += other.glob("*.md") if other.is_dir() else [other]
    assert set(DOCS.rglob("*.md")) <= reached


@every_page
def test_manifests_are_valid(path: Path) -> None:
    for block in blocks(path.read_text(), "yaml"):
        if block.startswith("apiVersion: troth.dev/"):
            for manifest in filter(is_ours, yaml.safe_load_all(block)):
                parse_resource(manifest, str(path))


@every_page
def test_commands_and_their_options_exist(path: Path) -> None:
    for line in _commands(path.read_text()):
        command = command_tree()
        for word in line:
            known = {option for each in command.params for option in each.opts}
            if word.startswith("-") and word != "-":
                assert word.partition("=")[0] in {*known, "--help"}, line
            elif hasattr(command, "commands"):
                assert word in command.commands, line
                command = command.commands[word]


def _commands(text: str) -> Iterator[list[str]]:
    """Yield the words after `troth` of each command in a code block or between backticks."""
    shown = [*blocks(text, "console"), *blocks(text, "sh")]
    lines = re.findall(r"^\s*(?:\$ )?(?:\.venv/bin/)?troth (.+)$", "\n".join(shown), re.MULTILINE)
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    lines += re.findall(r"`(?:\.venv/bin/)?troth ([^`]+)`", prose)
    for line in lines:
        yield shlex.split(re.split(r"[|<>&]", line)[0].rstrip("\\ "), comments=True)


@every_page
def test_chart_values_exist(path: Path) -> None:
    values = yaml.safe_load((ROOT / "charts" / "troth" / "values.yaml").read_text())
    text = path.read_text()
    named = re.findall(
        r"`(?:\w+\.)?((?:gateway|networkPolicy|rollouts|metrics|monitoring|crds)\.[\w.]+)", text
    )
    named += re.findall(r"--set ([\w.]+)=", text)
    for name in named:
        found = values
        for part in name.rstrip(".").split("."):
            assert isinstance(found, dict), name
            assert part in found, name
            found = found[part]


def test_every_decision_is_in_the_index() -> None:
    index = (DOCS / "decisions" / "README.md").read_text()
    written = {path.name for path in (DOCS / "decisions").glob("0*.md")}
    assert written == set(re.findall(r"\]\((0[^)]+)\)", index))
