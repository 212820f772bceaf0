"""The file of vectors."""

import json
from collections import Counter
from itertools import chain
from typing import Any

from website.event_vectors import (
    certificate_vectors,
    form_vectors,
    policy_vectors,
    scene,
    seal_vectors,
    token_vectors,
)

_MODULES = (form_vectors, seal_vectors, certificate_vectors, policy_vectors, token_vectors)


def document() -> dict[str, Any]:
    """Return the vectors and what they share."""
    vectors = [each.document() for each in chain.from_iterable(m.vectors() for m in _MODULES)]
    twice = [name for name, times in Counter(each["name"] for each in vectors).items() if times > 1]
    assert not twice, twice
    return {
        "description": "Test vectors for the form of an event: see docs/events.md, section Vectors",
        "identity": scene.IDENTITY,
        "bundles": scene.bundle_map(),
        "entry": scene.ENTRY,
        "now": scene.NOW,
        "vectors": vectors,
    }


def text() -> str:
    """Return the file: what is shared in one line each, then a line for each vector."""
    members = document()
    vectors = ",\n".join(_line(each) for each in members.pop("vectors"))
    shared = "".join(f'"{name}":{_line(value)},\n' for name, value in members.items())
    return f'{{{shared}"vectors":[\n{vectors}\n]}}\n'


def _line(value: Any) -> str:  # noqa: ANN401 - JSON is anything
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
