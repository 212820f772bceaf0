"""JSON Schema of `identity.json`, for programs that are not Python."""

from typing import Any

from troth.edge.identity.document import Document

ADDRESS = "https://troth-dev.github.io/troth/reference/identity.schema.json"


def identity_schema() -> dict[str, Any]:
    """Return the schema (JSON Schema, draft 2020-12) of the documents that `troth.edge` reads.

    `troth.edge` checks more than a schema can say: that SPIFFE IDs and keys can be read, and that
    nothing is listed twice.
    """
    generated = Document.model_json_schema(by_alias=True)
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
