"""Comparison of two schemas of one policy."""

import json
from collections.abc import Iterable, Iterator
from itertools import islice

from troth.resources.messaging.schemas import avro as avro_reading
from troth.resources.messaging.schemas import protobuf as protobuf_reading
from troth.resources.messaging.schemas.compatibility import avro, json_schema, protobuf
from troth.resources.messaging.schemas.compatibility.changes import Change, Problem, Side
from troth.resources.messaging.schemas.schema_text import MessageSchemaText, SchemaType

MOST_CHANGES = 20
"""Maximum number of changes for each side."""


def changes_between(old: MessageSchemaText, new: MessageSchemaText) -> tuple[Change, ...]:
    """Return the changes that are, or may be, incompatible; none if the schemas are compatible."""
    if old == new:
        return ()
    if old.type is not new.type:
        sentence = f"the format is {new.type.value} instead of {old.type.value}"
        return tuple(Change(side, "/", sentence) for side in Side)
    return (
        *_changes(Side.PRODUCERS, _found(old, new, Side.PRODUCERS)),
        *_changes(Side.CONSUMERS, _found(new, old, Side.CONSUMERS)),
    )


def _found(writer: MessageSchemaText, reader: MessageSchemaText, side: Side) -> list[Problem]:
    try:
        return list(_problems(writer, reader, side))
    except RecursionError:  # of types that refer to one another in a long chain
        return [Problem("", "the schemas nest too deeply to compare", certain=False)]


def _problems(
    writer: MessageSchemaText, reader: MessageSchemaText, side: Side
) -> Iterator[Problem]:
    match writer.type:
        case SchemaType.JSON_SCHEMA:
            return json_schema.problems(json.loads(writer.text), json.loads(reader.text))
        case SchemaType.AVRO:
            types = [avro_reading.compiled(each.text)[1] for each in (writer, reader)]
            return avro.problems(types[0], types[1])
        case SchemaType.PROTOBUF:
            messages = [
                protobuf_reading.compiled(each.text, each.message) for each in (writer, reader)
            ]
            strict = side is Side.PRODUCERS
            return protobuf.problems(messages[0], messages[1], strict=strict)


def _changes(side: Side, problems: Iterable[Problem]) -> Iterator[Change]:
    distinct = {
        Change(side, each.path or "/", each.sentence, each.certain): None for each in problems
    }
    ordered = sorted(distinct, key=lambda change: (not change.certain, change.path))
    return islice(iter(ordered), MOST_CHANGES)
