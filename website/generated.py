"""Files of docs/reference that are generated from models, rules, reasons and vectors of events."""

import json
from pathlib import Path

from troth.audit.registry import RULES
from troth.planning.reasons.table import CONDITIONS
from troth.resources.kinds import EVERY_KIND
from website.api_reference import index, page
from website.event_vectors.document import text as event_vectors
from website.identity_schema import identity_schema
from website.reasons import reasons_page
from website.rules import rules_page

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"
API = REFERENCE / "api"
EVENT_VECTORS = REFERENCE / "event-vectors.json"


def files() -> dict[Path, str]:
    """Return the text of each generated file, by its path."""
    pages = {API / f"{kind.plural}.md": page(kind) for kind in EVERY_KIND}
    schema = json.dumps(identity_schema(), indent=2, ensure_ascii=False) + "\n"
    return {
        **pages,
        API / "README.md": index(EVERY_KIND),
        REFERENCE / "identity.schema.json": schema,
        REFERENCE / "findings.md": rules_page(RULES),
        REFERENCE / "reasons.md": reasons_page(CONDITIONS),
        EVENT_VECTORS: event_vectors(),
    }


def stale() -> list[Path]:
    """Return the files that are missing, differ, or belong to no kind, sorted."""
    expected = files()
    differ = {
        path for path, text in expected.items() if not path.exists() or path.read_text() != text
    }
    return sorted(differ | (set(API.iterdir()) - set(expected)))
