"""The manifests of docs/migration are what `troth check` accepts, and change nothing that runs."""

import re
import textwrap
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import stamp
from tests.cli.running import troth
from tests.guides.pages import DOCS

MIGRATIONS = sorted((DOCS / "migration").glob("*.md"))
every_migration = pytest.mark.parametrize("path", MIGRATIONS, ids=lambda path: path.stem)
NOTICES = {"SecretMissing", "AuthorityNotReady", "BrokerObserved"}


def manifests(path: Path) -> list[dict[str, Any]]:
    """Return the manifests of a page, with the end of an exception that the reader fills in."""
    shown = re.findall(r"^ *```yaml\n(.*?)```", path.read_text(), re.DOTALL | re.MULTILINE)
    ends = stamp(datetime.now(UTC) + timedelta(days=90))
    documents = (textwrap.dedent(block).replace("EXPIRES", ends) for block in shown)
    return [each for text in documents for each in yaml.safe_load_all(text)]


def checked(path: Path, folder: Path, *arguments: str) -> tuple[int, str]:
    file = folder / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(manifests(path)))
    ended = troth(*arguments, "-f", str(file))
    return ended.code, ended.output + ended.errors


@every_migration
def test_check_accepts_the_manifests_of_the_page(path: Path, tmp_path: Path) -> None:
    code, said = checked(path, tmp_path, "check")
    assert code == 0, said
    assert set(re.findall(r"\[(\w+)\]$", said, re.MULTILINE)) <= NOTICES


@every_migration
def test_first_step_writes_no_network_policy(path: Path, tmp_path: Path) -> None:
    _, said = checked(path, tmp_path, "plan")
    assert "Secret" in said or "ConfigMap" in said, said
    assert "NetworkPolicy" not in said


@every_migration
def test_page_says_how_to_go_back(path: Path) -> None:
    assert "\n## Go back\n" in path.read_text()
