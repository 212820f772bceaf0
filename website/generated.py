"""Files of docs/reference that are generated from the models."""

import json
from pathlib import Path

from troth.resources.kinds import KINDS
from website.api_reference import index, page
from website.identity_schema import identity_schema

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
API = REFERENCE / "api"


def files() -> dict[Path, str]:
    """Return the text of each generated file, by its path."""
    pages = {API / f"{kind.plural}.md": page(kind) for kind in KINDS}
    schema = json.dumps(identity_schema(), indent=2, ensure_ascii=False) + "\n"
    return {**pages, API / "README.md": index(KINDS), REFERENCE / "identity.schema.json": schema}


def stale() -> list[Path]:
    """Return the files that are missing, differ, or belong to no kind, sorted."""
    expected = files()
    differ = {
        path for path, text in expected.items() if not path.exists() or path.read_text() != text
    }
    return sorted(differ | (set(API.iterdir()) - set(expected)))
