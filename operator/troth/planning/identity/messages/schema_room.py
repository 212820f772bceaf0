"""Room for the schemas of an identity's messages: its Secret, and then a ConfigMap beside it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import to_json

from troth.documents.message_schemas import schema_file

ROOM = 700 * 1024
"""Maximum bytes of all schemas in one document. A Secret holds at most 1 MiB."""
FILES_ROOM = 900 * 1024
"""Maximum bytes of all schemas in one ConfigMap with their index. It holds at most 1 MiB."""
NAMED = 160
"""Bytes that the name of one file takes: once as a key, and once in the index."""

Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Placed:
    """Entries of `messages` as the document has them, and the texts that go to files, by name.

    `outside` are the policies whose schemas do not fit into the document, by file. `too_large` are
    those whose schemas fit into neither place.
    """

    entries: tuple[Entry, ...] = field(repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)
    outside: Mapping[str, frozenset[str]] = field(default_factory=dict)
    too_large: frozenset[str] = frozenset()


def place(entries: Iterable[Entry]) -> Placed:
    """Return a place for the schemas of each entry, the first ones in the document.

    The same entries always have the same places. Schemas that fit nowhere become a `schemaFault`.
    """
    room, left = ROOM, FILES_ROOM
    placed: list[Entry] = []
    files: dict[str, str] = {}
    outside: dict[str, frozenset[str]] = {}
    too_large: set[str] = set()
    for entry in entries:
        policy, texts = str(entry.get("policy")), _texts(entry)
        size = sum(len(to_json(text)) for text in texts.values())
        if size <= room:
            room -= size
            placed.append(entry)
            continue
        size = sum(
            len(policy) + (0 if name in files else len(text.encode()) + NAMED)
            for name, text in texts.items()
        )
        if size <= left:
            left -= size
            files |= texts
            outside |= {name: outside.get(name, frozenset()) | {policy} for name in texts}
            placed.append({**entry, "schemas": [_in_file(each) for each in entry["schemas"]]})
        else:
            too_large.add(policy)
            kept = {name: each for name, each in entry.items() if name != "schemas"}
            placed.append(kept | {"schemaFault": "SchemasTooLarge"})
    return Placed(tuple(placed), files, outside, frozenset(too_large))


def _texts(entry: Entry) -> dict[str, str]:
    """Return the texts of an entry's schemas, by the names that their files have."""
    return {
        schema_file(each["type"], each["digest"]): each["text"] for each in entry.get("schemas", ())
    }


def _in_file(schema: Entry) -> Entry:
    kept = {name: each for name, each in schema.items() if name != "text"}
    return kept | {"file": schema_file(schema["type"], schema["digest"])}
