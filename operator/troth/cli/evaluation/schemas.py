"""Changes of message schemas that reject messages of before, or break programs of before."""

from collections.abc import Iterator

from troth.cli.evaluation.finding import Severity
from troth.planning.grants.message_schemas import schema_of
from troth.resources.faults import Step
from troth.resources.messaging.schemas.compatibility.changes import Change, Side
from troth.resources.messaging.schemas.schema_text import MessageSchemaText
from troth.resources.messaging.topic_policy import AcceptedSchemas, TopicPolicy
from troth.resources.references import Ref
from troth.world.world import World

INCOMPATIBLE, UNDECIDED, REPLACED = "SchemaIncompatible", "SchemaUndecided", "SchemaReplaced"
ADVICE = {
    Side.PRODUCERS: "upgrade the producers first",
    Side.CONSUMERS: "upgrade the consumers before the producers send messages of the new schema",
}

KEEP_ACCEPTING = "set schema.accept: Previous until the old messages are consumed"

Place = tuple[str, Ref, tuple[Step, ...]]


def incompatible(
    policy: TopicPolicy, earlier: World, now: World
) -> Iterator[tuple[Severity, str, str]]:
    """Yield severity, reason and message of each change of a policy's schema that needs care.

    Messages name their schema by its digest, so consumers that accept only the current one reject
    the messages of any other.
    """
    before = earlier.brokers.messaging.policies.get(policy.ref)
    if before is None:
        return
    old = schema_of(before, earlier.schemas.of(before))
    new = schema_of(policy, now.schemas.of(policy))
    if isinstance(old, MessageSchemaText) and isinstance(new, MessageSchemaText):
        # it imports the parsers of all formats
        from troth.resources.messaging.schemas.compatibility.compare import (  # noqa: PLC0415
            changes_between,
        )

        accepted = _accepts_previous(policy)
        if old != new and not accepted:
            yield Severity.WARNING, REPLACED, _replaced()
        for change in changes_between(old, new):
            harmless = accepted and change.side is Side.PRODUCERS
            severity = Severity.WARNING if change.certain and not harmless else Severity.NOTICE
            reason = INCOMPATIBLE if change.certain else UNDECIDED
            yield severity, reason, _sentence(change, accepted=accepted)


def _accepts_previous(policy: TopicPolicy) -> bool:
    declared = policy.spec.schema_
    return declared is not None and declared.accept is AcceptedSchemas.PREVIOUS


def schema_places(policy: TopicPolicy) -> Iterator[Place]:
    """Yield the fields that hold the schema of a policy: in its ConfigMap, then in itself."""
    declared = policy.spec.schema_
    if declared is None:
        return
    if declared.config_map_ref is not None and policy.schema_map is not None:
        yield "ConfigMap", policy.schema_map, ("data", declared.config_map_ref.key)
        yield "TopicPolicy", policy.ref, ("spec", "schema", "configMapRef")
    for name, value in (
        ("jsonSchema", declared.json_schema),
        ("avro", declared.avro),
        ("protobuf", declared.protobuf),
    ):
        if value is not None:
            yield "TopicPolicy", policy.ref, ("spec", "schema", name)


def _replaced() -> str:
    return (
        "consumers reject messages of the old schema that are still in the topic, even if they are "
        f"valid in the new one; {KEEP_ACCEPTING}"
    )


def _sentence(change: Change, *, accepted: bool) -> str:
    verb = "is" if change.certain else "may be"
    advice = ADVICE[change.side]
    if change.side is Side.PRODUCERS and not accepted:
        advice = f"{advice}, and {KEEP_ACCEPTING}"
    return (
        f"the schema {verb} incompatible with {change.side} of the old one, at {change.path}: "
        f"{change.sentence}; {advice}"
    )
