"""CloudEvents in Kafka messages (CloudEvents, Kafka protocol binding 1.0.2, section 3.2).

An attribute is a header `ce_<name>` in UTF-8, except that `datacontenttype` is `content-type`. The
record's key is not part of the event, and no seal covers it.
"""

from troth.edge.events.attributes import REDRIVE
from troth.edge.events.bindings.headers import Binding, Headers, as_bytes
from troth.edge.events.message import Message, Sealed
from troth.edge.events.rejection import RejectedError

_PREFIX = "ce_"
_CONTENT_TYPE = "content-type"
REDRIVE_HEADER = _PREFIX + REDRIVE
"""Name of the header that holds a redrive."""
_BINDING = Binding(_PREFIX, {_CONTENT_TYPE: "datacontenttype"}, bytes.decode)


def read(
    topic: str,
    headers: Headers,
    value: bytes | None,
    *,
    stored_at: float | None = None,
    partition: int | None = None,
    offset: int | None = None,
) -> Message:
    """Return a record as a message.

    `stored_at` is the record's timestamp in seconds since the epoch if the topic has
    `message.timestamp.type=LogAppendTime`, otherwise None: a producer chooses any other timestamp.
    """
    try:
        attributes, kept = _BINDING.read(headers)
    except RejectedError as error:
        return Message(
            topic, {}, value, stored_at, partition, offset, as_bytes(headers), error.rejection
        )
    return Message(topic, attributes, value, stored_at, partition, offset, kept)


def headers(sealed: Sealed) -> list[tuple[str, bytes]]:
    """Return the headers of a sealed event."""
    return [
        (_CONTENT_TYPE if name == "datacontenttype" else _PREFIX + name, value.encode())
        for name, value in sealed.attributes.items()
    ]
