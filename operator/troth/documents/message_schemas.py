"""Schemas of messages in `identity.json` and in the ConfigMap `<identity>-schemas`.

The operator writes them (`troth.planning.identity`); services read them (`troth.edge.identity`).
A schema is named by the digest of its text, so a file of another text is never used.
"""

EXTENSIONS = {"JSONSchema": ".json", "Avro": ".avsc", "Protobuf": ".pb.b64"}
"""Extensions of the files of schemas, by type of schema."""


def schema_file(type_: str, digest: str) -> str:
    """Return the name of a schema's file. Raises `KeyError` for an unknown type."""
    return digest + EXTENSIONS[type_]
