"""Checks that the API server and the models judge a manifest alike, with the same messages."""

import re
from collections.abc import Iterator
from typing import Any

from tests.builders import Manifest
from tests.cluster.dry_run import Answer, DryRun
from tests.refusals import faults
from troth.resources.faults import ManifestFault
from troth.resources.kinds import EVERY_KIND, Kind
from troth.resources.schema.crd import custom_resource_definition
from troth.resources.schema.rules import VALIDATIONS


def sentences(schema: Any) -> Iterator[str]:
    """Yield the message of every rule in a schema."""
    if isinstance(schema, dict):
        for rule in schema.get(VALIDATIONS, []):
            yield rule["message"]
        for part in schema.values():
            yield from sentences(part)


def schema_of(kind: Kind) -> Any:
    return custom_resource_definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


SENTENCES = sorted({text for kind in EVERY_KIND for text in sentences(schema_of(kind))}, key=len)


def rule_in(message: str) -> str:
    """Return the longest message of ours with which a message from the API server ends."""
    return next((text for text in reversed(SENTENCES) if message.endswith(text)), "")


def steps(field: str) -> tuple[str, ...]:
    """Return a field's path, cut at `matchLabels`: the judges write label keys differently."""
    path = tuple(re.findall(r"[^.\[\]]+", field))
    return path[: path.index("matchLabels") + 1] if "matchLabels" in path else path


def disagreement(answer: Answer, faults: list[ManifestFault]) -> str:
    """Return how the two judges disagree, or an empty string.

    A rule's message must come from both, with three exceptions. The API server does not check rules
    on an invalid structure, and says so. It uses its own messages for metadata. The model does not
    check the containers of a field that it has rejected.
    """
    if answer.accepted != (not faults):
        return "one accepts and the other refuses"
    unchecked = not answer.complaints or answer.unchecked
    said_by_model = {(steps(fault.field), fault.sentence) for fault in faults}
    said_by_server = {
        (steps(complaint.field), rule_in(complaint.sentence))
        for complaint in answer.complaints
        if rule_in(complaint.sentence)
    }
    for complaint in answer.complaints:
        if "evaluating rule" in complaint.sentence:
            return f"the API server stumbles over a rule: {complaint.sentence}"
    for path, sentence in said_by_server - said_by_model:
        if not any(refused[: len(path)] == path for refused, _ in said_by_model):
            return f"the model does not say of {path}: {sentence}"
    for path, sentence in said_by_model - said_by_server:
        if sentence in SENTENCES and not unchecked and path[:1] != ("metadata",):
            return f"the API server does not say of {path}: {sentence}"
    return ""


def check(manifest: Manifest, dry_run: DryRun) -> Answer:
    """Return the API server's answer, after asserting that the models agree with it."""
    answer, found = dry_run.create(manifest), faults(manifest)
    assert not disagreement(answer, found), (disagreement(answer, found), answer.body, found)
    return answer
