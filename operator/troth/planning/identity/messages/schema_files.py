"""The ConfigMap with the schemas that do not fit into an identity's Secret.

A service mounts it beside the Secret. It is deleted when all schemas fit into the Secret again. A
file that the written document names stays until the document is replaced.
"""

from collections.abc import Iterator, Mapping

from pydantic_core import to_json

from troth.documents.identity.reading import parsed
from troth.documents.secret_keys import IDENTITY_JSON
from troth.planning import verdicts
from troth.planning.identity.facts import View
from troth.planning.identity.messages.schema_room import NAMED, Placed
from troth.planning.identity.secret.manifest import overflows, placed_messages, without_growth
from troth.planning.owned_objects import (
    differs,
    metadata_of,
    rechecks,
    schemas_ref,
    secret_ref,
    taken,
)
from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.steps.objects import Apply, removal
from troth.resources.conditions import Verdict
from troth.resources.messaging.schemas.schema_text import digest_of
from troth.resources.schema.bounded_json import objects_in
from troth.world.facts.objects import Content, Manifest

CONDITION = "SchemasWritten"
"""Reasons that pass without manual action."""
INDEX = "index.json"
"""Key of the ConfigMap for the policies of each file. It changes whenever a file does, so Troth
also sees that a file has to go."""
MOST = 1_000_000
"""Maximum bytes of the ConfigMap while it has files of two documents. It holds at most 1 MiB."""
MOUNT = "/var/run/troth/schemas"


@fails_closed(unplanned(CONDITION))
def plan_schema_files(view: View) -> Part:
    """Return the plan of the ConfigMap, which exists only while schemas do not fit.

    Its steps come before the write of the document, so that a file exists when the document names
    it. If reading the identity failed, grants may be missing, so their schemas stay.
    """
    if view.errors:
        return Part()
    owned, fact = view.schema_files, view.schema_files.fact
    current = parsed(view.secret.public.get(IDENTITY_JSON, "")) if view.secret else {}
    placed = _placed(view, current)
    unfit = tuple(_too_large(placed, view))
    files = _with_written(placed.files, fact, current)
    if not files:
        return Part(unfit, removal("ConfigMap", fact, view.identity))
    dues = rechecks(owned)
    conflict = verdicts.faulty(CONDITION, taken(owned, view.identity, view.moment.now))
    if conflict is not None:
        return Part((conflict,), dues=dues)
    manifest = _manifest(files, placed, view)
    steps = (Apply(manifest, view.kept_from(fact)),)
    failed = verdicts.faulty(CONDITION, owned.write_fault)
    if failed is None and not unfit and not placed.files:  # the document is about to drop them
        return Part((), steps, dues)
    if fact is None or differs(manifest, fact):
        found = verdicts.false(
            CONDITION, "SchemasPending", f"ConfigMap {owned.ref} with the schemas is being written"
        )
    else:
        found = verdicts.true(CONDITION, "InConfigMap", _outside(placed, view))
    return Part((failed or next(iter(unfit), found),), steps, dues)


def _placed(view: View, current: Mapping[str, object]) -> Placed:
    if view.certificate is None:
        return Placed(())
    placed = placed_messages(view, current)
    # whether the document keeps to what it lists takes long to find out, and matters only here
    if (placed.files or placed.too_large) and overflows(view):
        return placed_messages(without_growth(view), current)
    return placed


def _with_written(
    files: Mapping[str, str], fact: Content | None, current: Mapping[str, object]
) -> Mapping[str, str]:
    """Return the files with those that the document as written names, as far as they fit."""
    if fact is None:
        return files
    named = {
        str(schema.get("file")): schema.get("digest")
        for entry in objects_in(current.get("messages"))
        for schema in objects_in(entry.get("schemas"))
    }
    room = MOST - sum(len(text.encode()) + NAMED for text in files.values())
    kept = dict(files)
    for name in sorted(named.keys() & fact.data.keys() - files.keys()):
        text = fact.data[name]
        size = len(text.encode()) + NAMED
        if digest_of(text) == named[name] and size <= room:
            room -= size
            kept[name] = text
    return kept


def _manifest(files: Mapping[str, str], placed: Placed, view: View) -> Manifest:
    index = {name: sorted(placed.outside.get(name, ())) for name in sorted(files)}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata_of(schemas_ref(view.identity.ref), view.identity),
        "data": {**files, INDEX: to_json(index, indent=2).decode() + "\n"},
    }


def _too_large(placed: Placed, view: View) -> Iterator[Verdict]:
    if placed.too_large:
        ref = view.identity.ref
        message = (
            f"{_schemas(len(placed.too_large))} fit neither into Secret {secret_ref(ref)} nor into "
            f"ConfigMap {schemas_ref(ref)}, so producers send no messages of them, and consumers "
            "wait with theirs until the schemas fit; shorten the schemas, or divide the workload "
            "over several identities (see docs/limits.md)"
        )
        yield verdicts.false(CONDITION, "SchemasTooLarge", message)


def _outside(placed: Placed, view: View) -> str:
    ref = view.identity.ref
    policies = frozenset().union(*placed.outside.values())
    return (
        f"{_schemas(len(policies))} do not fit into Secret {secret_ref(ref)}; mount ConfigMap "
        f"{schemas_ref(ref)} at {MOUNT}"
    )


def _schemas(policies: int) -> str:
    return "the schemas of 1 policy" if policies == 1 else f"the schemas of {policies} policies"
