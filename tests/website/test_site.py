"""The documentation site builds, and each of its links leads to a page or a file."""

import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from tests.guides.pages import DOCS, ROOT
from tests.packaging.distributions import project
from website import hooks
from website.anchors import anchor

CONFIGURATION = (ROOT / "mkdocs.yml").read_text()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the site, built strictly; with `--quiet`, MkDocs would not count its warnings."""
    directory = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(directory)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


def test_make_builds_as_strictly() -> None:
    recipe = re.search(r"-m mkdocs build(.*)", (ROOT / "Makefile").read_text())
    assert recipe
    assert recipe[1] == ""
    assert "\nstrict: true\n" in CONFIGURATION


def test_site_has_every_page(site: Path) -> None:
    for path in DOCS.rglob("*.md"):
        page = path.relative_to(DOCS).with_suffix("")
        folder = page.parent if page.name == "README" else page
        assert (site / folder / "index.html").exists(), path


def test_schema_of_the_identity_is_published(site: Path) -> None:
    published = site / "reference" / "identity.schema.json"
    assert published.read_text() == (DOCS / "reference" / "identity.schema.json").read_text()


def test_browser_contacts_no_third_party(site: Path) -> None:
    text = (site / "index.html").read_text()
    for tag in ("<script src=", '<link rel="stylesheet" href='):
        assert f"{tag}http" not in text.replace('"http', "http")


def test_site_has_the_addresses_of_the_package() -> None:
    # The tag of the anchors' function is MkDocs' own.
    plain = CONFIGURATION.replace("!!python/name:", "")
    settings = yaml.safe_load(plain)
    assert settings["repo_url"] == project()["urls"]["Repository"]
    assert settings["site_url"].rstrip("/") == project()["urls"]["Documentation"]


@pytest.mark.parametrize(
    ("page", "link", "leads_to"),
    [
        ("tokens.md", "../examples/shop", "repo/tree/main/examples/shop"),
        ("tokens.md", "../SECURITY.md", "repo/blob/main/SECURITY.md"),
        ("reference/files.md", "../../SECURITY.md#a", "repo/blob/main/SECURITY.md#a"),
        ("reference/files.md", "../edges.md#reasons", "../edges.md#reasons"),
        ("tokens.md", "edges.md", "edges.md"),
    ],
)
def test_link_out_of_the_documentation_leads_to_the_repository(
    page: str, link: str, leads_to: str
) -> None:
    shown: Any = SimpleNamespace(file=SimpleNamespace(src_uri=page))
    config: Any = SimpleNamespace(repo_url="repo")
    text = hooks.on_page_markdown(f"see [it]({link})", page=shown, config=config)
    assert text == f"see [it]({leads_to})"


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("How do I …?", "how-do-i-"),
        ("spec.accepts[].from", "specacceptsfrom"),
        ("`identity.json` and more", "identityjson-and-more"),
    ],
)
def test_anchor_is_the_one_that_github_makes(heading: str, expected: str) -> None:
    assert anchor(heading) == expected
