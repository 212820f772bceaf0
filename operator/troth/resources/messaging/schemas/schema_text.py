"""Formats of schemas, the canonical text of a schema, and the fault of one that cannot be used."""

import hashlib
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from enum import StrEnum

MOST_BYTES = 64 * 1024
"""Maximum length of a schema's text in bytes of UTF-8."""


class SchemaType(StrEnum):
    """Format of a schema."""

    JSON_SCHEMA = "JSONSchema"
    AVRO = "Avro"
    PROTOBUF = "Protobuf"


@dataclass(frozen=True, slots=True)
class MessageSchemaText:
    """Schema in canonical form. Two schemas of one policy are the same if their values are equal.

    The text is canonical JSON, or for Protobuf a FileDescriptorSet in base64. `message` is the full
    name of the Protobuf message, and empty for the other formats.
    """

    type: SchemaType
    text: str = field(repr=False)
    message: str = ""
    digest: str = field(init=False)
    """SHA-256 of the text in UTF-8, as base64url without padding."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest_of(self.text))

    def entry(self) -> dict[str, str]:
        """Return the schema as an item of `schemas` in `identity.json`."""
        named = {"message": self.message} if self.message else {}
        return {"type": self.type.value, "digest": self.digest, "text": self.text} | named


@dataclass(frozen=True, slots=True)
class SchemaFault:
    """Fault of a schema: a CamelCase reason, and a message that says what to change."""

    reason: str
    message: str


def digest_of(text: str) -> str:
    """Return the SHA-256 of a text in UTF-8, as base64url without padding."""
    raw = hashlib.sha256(text.encode()).digest()
    return urlsafe_b64encode(raw).rstrip(b"=").decode()
