"""Schemas that a policy's messages may satisfy: the current one, and the one that it replaced.

The replaced one is known only from the document as written. A document without it, such as that of
a new identity or one in the place of a lost Secret, has none.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from troth.documents.message_schemas import EXTENSIONS, schema_file
from troth.planning.grants.message_schemas import Texts, schema_of
from troth.resources.messaging.schemas.schema_text import digest_of
from troth.resources.messaging.topic_policy import AcceptedSchemas, TopicPolicy
from troth.resources.schema.bounded_json import objects_in
from troth.world.facts.objects import Fault

Entry = Mapping[str, Any]


def schemas_of(
    policy: TopicPolicy, texts: Texts | None, before: Entry, files: Mapping[str, str]
) -> Entry:
    """Return the member `schemas` of an entry with all texts, or `schemaFault`.

    Both are absent without a schema. While the schema cannot be used, the schemas as written stay
    beside the fault if the policy accepts previous ones, so they are known when it can be used
    again. `before` is the entry as written, and `files` are the schemas that its document has in
    files.
    """
    found, declared = schema_of(policy, texts), policy.spec.schema_
    if found is None or declared is None:
        return {}
    if isinstance(found, Fault):
        kept = declared.accept is AcceptedSchemas.PREVIOUS and list(_written(before, files))
        return {"schemaFault": found.reason} | ({"schemas": kept} if kept else {})
    current = found.entry()
    if declared.accept is AcceptedSchemas.CURRENT:
        return {"schemas": [current]}
    written = _written(before, files)
    previous = next((each for each in written if each != current), None)
    return {"schemas": [current] if previous is None else [current, previous]}


def with_texts(entry: Entry, files: Mapping[str, str]) -> Entry:
    """Return an entry as written, in which the schemas have their texts in place of their files.

    If a text is missing, the entry has a fault instead of schemas, so no message is valid.
    """
    if "schemas" not in entry:
        return entry
    listed, known = entry["schemas"], list(_written(entry, files))
    if isinstance(listed, list) and len(known) == len(listed):
        return {**entry, "schemas": known}
    kept = {name: each for name, each in entry.items() if name != "schemas"}
    return {**kept, "schemaFault": "SchemaMissing"}


def _written(entry: Entry, files: Mapping[str, str]) -> Iterator[Entry]:
    """Yield the schemas of an entry as written whose texts are known and have their digests."""
    for each in objects_in(entry.get("schemas")):
        type_, digest, message = each.get("type"), each.get("digest"), each.get("message")
        if type_ not in EXTENSIONS or not isinstance(digest, str):
            continue
        text = each.get("text", files.get(schema_file(type_, digest)))
        if isinstance(text, str) and digest_of(text) == digest:
            named = {"message": message} if isinstance(message, str) else {}
            yield {"type": type_, "digest": digest, "text": text, **named}
