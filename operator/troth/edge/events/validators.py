"""The validator of a schema that an event names."""

from troth.documents.identity.document import MessageSchema
from troth.edge.events.rejection import Reason, RejectedError
from troth.edge.events.rights import Rights
from troth.edge.events.schemas.compiled import compile as compiled
from troth.edge.events.schemas.validator import UnusableSchemaError, Validator


def validator_of(rights: Rights, schema: MessageSchema) -> Validator:
    """Return the validator of a policy's schema.

    Raises `RejectedError` with `SchemaUnavailable` if its text is not mounted, or if it cannot be
    compiled, and `ModuleNotFoundError` if the library of its format is not installed.
    """
    text = rights.snapshot.schemas.get(schema.digest)
    if text is None:
        raise RejectedError(
            Reason.SCHEMA_UNAVAILABLE,
            "the text of the schema is not mounted; mount the ConfigMap <identity>-schemas",
        )
    try:
        return compiled(schema.type, text, schema.message)
    except UnusableSchemaError as error:
        raise RejectedError(Reason.SCHEMA_UNAVAILABLE, str(error)) from None
