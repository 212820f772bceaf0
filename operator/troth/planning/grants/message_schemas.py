"""Schema of a policy's messages, declared in the policy or in a ConfigMap."""

from collections.abc import Mapping

from troth.planning import verdicts
from troth.planning.parts import Part, fails_closed, unplanned
from troth.resources.conditions import Verdict
from troth.resources.messaging.schemas.json_text import written
from troth.resources.messaging.schemas.reading import read_schema
from troth.resources.messaging.schemas.schema_text import (
    MOST_BYTES,
    MessageSchemaText,
    SchemaFault,
    SchemaType,
)
from troth.resources.messaging.topic_policy import ConfigMapKeyReference, TopicPolicy
from troth.resources.references import Ref
from troth.world.facts.objects import Fault
from troth.world.watch_class import SCHEMA as LABEL

Texts = Mapping[str, str | None]
"""Texts of a ConfigMap, None for each that is longer than a schema may be."""
SCHEMA_VALID = "SchemaValid"
"""Type of the condition on a policy's schema."""


def schema_of(policy: TopicPolicy, texts: Texts | None) -> MessageSchemaText | Fault | None:
    """Return the schema of a policy's messages in canonical form.

    Returns the fault of a schema that cannot be used, and None if the policy declares none. `texts`
    are those of the ConfigMap that the policy names, None if it does not exist.
    """
    declared = policy.spec.schema_
    if declared is None:
        return None
    if declared.json_schema is not None:
        text = written(declared.json_schema)
        return _read(text, SchemaType.JSON_SCHEMA, "", "schema.jsonSchema")
    if declared.avro is not None:
        return _read(written(declared.avro), SchemaType.AVRO, "", "schema.avro")
    if declared.protobuf is not None:
        binary = declared.protobuf
        return _read(binary.descriptor_set, SchemaType.PROTOBUF, binary.message, "schema.protobuf")
    place, named = policy.schema_map, declared.config_map_ref
    assert place is not None
    assert named is not None
    return _kept(place, named, texts)


@fails_closed(unplanned(SCHEMA_VALID))
def plan_schema(policy: TopicPolicy, texts: Texts | None) -> Part:
    """Return the part on a policy's message schema, which is empty if it declares none."""
    verdict = schema_verdict(policy, texts)
    return Part(verdicts=(verdict,) if verdict is not None else ())


def schema_verdict(policy: TopicPolicy, texts: Texts | None) -> Verdict | None:
    """Return whether a policy's message schema can be used, None if it declares none."""
    found = schema_of(policy, texts)
    if isinstance(found, Fault):
        return verdicts.false(SCHEMA_VALID, found.reason, found.message)
    if found is None:
        return None
    return verdicts.true(
        SCHEMA_VALID, "SchemaRead", "the schema is valid and can be used to check messages"
    )


def _kept(
    place: Ref, named: ConfigMapKeyReference, texts: Texts | None
) -> MessageSchemaText | Fault:
    key = named.key
    if texts is None:
        message = (
            f"ConfigMap {place} with the label {LABEL} does not exist; create it, or label the "
            f'existing one {LABEL}: "true"'
        )
        return Fault("SchemaMissing", message)
    if key not in texts:
        message = (
            f"ConfigMap {place} has no key {key}; add the schema under that key, or correct "
            "schema.configMapRef.key"
        )
        return Fault("SchemaMissing", message)
    text = texts[key]
    if text is None:
        message = f"{key} in ConfigMap {place} is longer than {MOST_BYTES // 1024} KiB; shorten it"
        return Fault("SchemaTooLarge", message)
    return _read(text, named.type, named.message or "", f"{key} in ConfigMap {place}")


def _read(text: str, type_: SchemaType, message: str, place: str) -> MessageSchemaText | Fault:
    found = read_schema(text, type_, message)
    if isinstance(found, SchemaFault):
        return Fault(found.reason, f"{place}: {found.message}")
    return found
