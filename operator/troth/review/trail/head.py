"""The head of a log: its last entry, and its last lines, as a ConfigMap holds them. Pure.

The worker writes the head before it prints the lines. After a crash between the two, the lines are
printed from there. So a line may be in the output twice, and never not at all.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

from troth.pki.encodings import strict_json
from troth.resources.references import Ref
from troth.review.trail.entry import NO_ENTRY, Entry, canonical, read
from troth.world.facts.objects import Manifest

HEAD: Final = "head.json"
LINES: Final = "lines.jsonl"
"""Keys of the ConfigMap."""
KEPT_BYTES = 64 * 1024
"""Size of the last lines that a head keeps, even if they are printed: a node's disk may be lost."""
LABELS = {"app.kubernetes.io/name": "troth", "app.kubernetes.io/component": "review"}


class HeadError(ValueError):
    """A ConfigMap is not the head of a log. The text says what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Head:
    """Last entry of a log, its hash, and the last entries in order, the last one included."""

    log: str
    sequence: int
    hash: str
    entries: tuple[Entry, ...] = field(repr=False)

    def followed_by(self, entries: Iterable[Entry], undelivered: int) -> "Head":
        """Return the head after further entries of this log.

        It keeps those from the number `undelivered` on, and `KEPT_BYTES` of earlier ones.
        """
        new = tuple(entries)
        last = new[-1]
        kept: list[Entry] = []
        size = 0
        for each in reversed((*self.entries, *new)):
            size += len(each.line)
            if size > KEPT_BYTES and each.sequence < min(undelivered, new[0].sequence):
                break
            kept.append(each)
        return replace(self, sequence=last.sequence, hash=last.hash, entries=tuple(reversed(kept)))

    def had(self, sequence: int, digest: str) -> bool:
        """Return whether an entry of this log, one of the last, has this number and hash."""
        return any(each.sequence == sequence and each.hash == digest for each in self.entries)


def empty_head(log: str) -> Head:
    """Return the head of a log without an entry."""
    return Head(log, 0, NO_ENTRY, ())


def manifest(head: Head, ref: Ref, resource_version: str | None) -> Manifest:
    """Return the ConfigMap of a head."""
    metadata: dict[str, Any] = {"name": ref.name, "namespace": ref.namespace, "labels": LABELS}
    if resource_version is not None:
        metadata["resourceVersion"] = resource_version
    last = {"log": head.log, "sequence": head.sequence, "hash": head.hash}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {
            HEAD: canonical(last).decode(),
            LINES: "".join(f"{each.line}\n" for each in head.entries),
        },
    }


def parse(found: Manifest) -> Head:
    """Return the head in a ConfigMap; raises `HeadError`.

    Its lines lead to the hash. No signature is verified; see `verification.check_head`.
    """
    data = found.get("data") or {}
    try:
        last = strict_json.parse(str(data.get(HEAD, "")))
        entries = tuple(read(each) for each in str(data.get(LINES, "")).splitlines())
    except ValueError as error:
        raise HeadError(f"{HEAD} or a line of {LINES} cannot be read: {error}") from None
    match last:
        case {"log": str(log), "sequence": int(sequence), "hash": str(digest)} if entries:
            head = Head(log, sequence, digest, entries)
        case _:
            raise HeadError(f"{HEAD} or {LINES} is not what the worker writes")
    if entries[-1].sequence != sequence or entries[-1].hash != digest:
        raise HeadError(f"the last line of {LINES} is not the entry of {HEAD}")
    for before, each in pairwise(entries):
        if each.sequence != before.sequence + 1 or each.previous != before.hash:
            raise HeadError(f"entry {each.sequence} in {LINES} does not follow the one before it")
    if any(each.log != log for each in entries):
        raise HeadError(f"a line of {LINES} is of another log than {HEAD}")
    return head
