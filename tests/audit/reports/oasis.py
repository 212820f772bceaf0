"""The schema of SARIF 2.1.0 that OASIS publishes, as a judge."""

import json
from functools import cache
from typing import Any

from jsonschema_rs import Draft4Validator

from sandbox.tools import ensure

ERRATA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)


@cache
def schema() -> dict[str, Any]:
    """Return the schema."""
    source = ensure("sarif-schema.go").read_text()
    found: dict[str, Any] = json.loads(source.split("`")[1])
    assert found["id"] == ERRATA
    return found


@cache
def _validator() -> Draft4Validator:
    return Draft4Validator(schema(), validate_formats=True)


def faults(log: dict[str, Any]) -> list[str]:
    """Return what is wrong with a SARIF log."""
    found = _validator().iter_errors(json.loads(json.dumps(log)))
    return [f"{each.instance_path}: {each.message}" for each in found]
