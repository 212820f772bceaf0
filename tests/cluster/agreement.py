"""Whether the API server and the models say the same of a manifest, in the same words."""

import re
from collections.abc import Iterator
from typing import Any

from tests.builders import Manifest
from tests.cluster.dry_run import Answer, DryRun
from tests.refusals import faults
from troth.resources.kinds import KINDS, Kind
from troth.resources.manifests import ManifestFault
from troth.resources.schema.crd import custom_resource_definition
from troth.resources.schema.rules import VALIDATIONS


def sentences(schema: Any) -> Iterator[str]:
    """Yield the sentence of every rule in a schema."""
    if isinstance(schema, dict):
        for rule in schema.get(VALIDATIONS, []):
            yield rule["message"]
        for part in schema.values():
            yield from sentences(part)


def schema_of(kind: Kind) -> Any:
    return custom_resource_definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


SENTENCES = sorted({text for kind in KINDS for text in sentences(schema_of(kind))}, key=len)


def rule_in(message: str) -> str:
    """Return the longest sentence of ours with which a message of the API server's ends."""
    return next((text for text in reversed(SENTENCES) if message.endswith(text)), "")


def steps(field: str) -> tuple[str, ...]:
    """Return a field's path; the two judges write a label's key in two ways, so it ends there."""
    path = tuple(re.findall(r"[^.\[\]]+", field))
    return path[: path.index("matchLabels") + 1] if "matchLabels" in path else path


def disagreement(answer: Answer, faults: list[ManifestFault]) -> str:
    """Return what the two judges do not agree on, nothing where they do.

    A rule's sentence must come from both, with three exceptions: the API server leaves rules
    unchecked where the structure is wrong already, and says so; it has words of its own for
    metadata; and the model does not ask more of what surrounds a field that it has refused.
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
    """Return the API server's answer, with which the models agree."""
    answer, found = dry_run.create(manifest), faults(manifest)
    assert not disagreement(answer, found), (disagreement(answer, found), answer.body, found)
    return answer
