"""JSON Schema of `identity.json`, for programs that are not Python."""

from typing import Any

from troth.documents.identity.document import Document

ADDRESS = "https://troth-dev.github.io/troth/reference/identity.schema.json"


def identity_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema, draft 2020-12) of the documents that `troth.edge` reads.

    `troth.edge` checks more than a schema can say: that SPIFFE IDs and keys can be read, and that
    nothing is listed twice.
    """
    generated = _plain(Document.model_json_schema(by_alias=True))
    description = (
        "Peers, scopes and requirements of one workload. Ignore unknown members at the top level; "
        "reject the document if a part has an unknown member, because it may be a restriction."
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": ADDRESS,
        **generated,
        "title": "identity.json",
        "description": description,
    }


def _plain(schema: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Return a schema without generated titles and without null, which Troth never writes."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema if each != {"type": "null"}]
    if not isinstance(schema, dict):
        return schema
    plain = {
        name: _plain(value)
        for name, value in schema.items()
        if not (name == "title" and isinstance(value, str))
        and not (name == "default" and value is None)
    }
    if len(plain.get("anyOf", ())) == 1:
        plain |= plain.pop("anyOf")[0]
    return plain
