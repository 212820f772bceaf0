"""Verification of a log: finds what is missing, edited, reordered, repeated otherwise, or foreign.

Pure. An entry counts if its signature verifies, and it is that of the worker. Entries that do not
count are reported, and are missing in the chain as well.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

from troth.documents.event_bundles import TOLERANCE
from troth.edge.events.rejection import RejectedError
from troth.edge.events.seal.producers import producers
from troth.pki.bundles.spiffe_bundle import SPIFFEBundle
from troth.review.trail.entry import Entry
from troth.review.trail.head import Head, HeadError
from troth.review.trail.lines import Damaged, entries_in

MOST_TORN = 16
"""Maximum number of damaged lines that may still follow in full. A crash leaves one."""


class Problem(StrEnum):
    """What is wrong with a log."""

    UNREADABLE = "Unreadable"
    CERTIFICATE_INVALID = "CertificateInvalid"
    SIGNATURE_INVALID = "SignatureInvalid"
    FOREIGN_SIGNER = "ForeignSigner"
    CONFLICT = "Conflict"
    OUT_OF_ORDER = "OutOfOrder"
    MISSING = "Missing"
    NOT_LINKED = "NotLinked"
    TIME_REVERSED = "TimeReversed"
    ANOTHER_LOG = "AnotherLog"
    TRUNCATED = "Truncated"
    HEAD_DIFFERS = "HeadDiffers"
    NO_ENTRIES = "NoEntries"


@dataclass(frozen=True, slots=True)
class Fault:
    """A problem, and its place: `<file>:<line>`, or the head, empty for none."""

    problem: Problem
    place: str
    sentence: str
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Result of a verification. `log` and what follows is of the log that the input begins with.

    `entries` are the entries that count, each once. `repeated` are equal lines, and `torn` are
    lines that a crash cut and that follow in full. Times are in seconds since the epoch.
    """

    faults: tuple[Fault, ...]
    log: str | None = None
    worker: str | None = None
    entries: int = 0
    first: int = 0
    last: int = 0
    hash: str = ""
    begins: float = 0.0
    ends: float = 0.0
    repeated: int = 0
    torn: int = 0
    decisions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Seen:
    """An entry that counts."""

    place: str
    hash: str
    previous: str
    time: float


class Verifier:
    """Verifies the lines of a log in their order."""

    def __init__(
        self, bundles: Mapping[str, SPIFFEBundle], *, worker: str | None = None, first: int = 1
    ) -> None:
        """Create a verifier.

        `bundles` verify certificates. `worker` is the SPIFFE ID of the worker, by default that of
        the first entry. `first` is the number of the first entry that must be there.
        """
        self._producer = producers(bundles)
        self._worker = worker
        self._first = first
        self._faults: list[Fault] = []
        self._logs: dict[str, dict[int, _Seen]] = {}
        self._decisions: dict[str, int] = {}
        self._repeated = 0
        self._torn: deque[tuple[str, Damaged]] = deque()
        self._healed = 0

    def take(self, line: str, place: str) -> None:
        """Verify a line, which may be one of others."""
        for found in entries_in(line):
            if isinstance(found, Damaged):
                self._torn.append((place, found))
                if len(self._torn) > MOST_TORN:
                    self._faults.append(_unreadable(*self._torn.popleft()))
            else:
                self._heal(found)
                if self._counts(found, place):
                    self._add(found, place)

    def report(self, head: Head | None = None, head_place: str = "") -> Report:
        """Return the result, compared with the head of the log if it is known."""
        faults = [
            *self._faults,
            *(_unreadable(*each) for each in self._torn),
        ]
        name = next(iter(self._logs), None)
        for log, seen in self._logs.items():
            faults += _chain_faults(seen, self._first if log == name else 1)
        if name is None:
            faults.append(Fault(Problem.NO_ENTRIES, "", "the input has no entry that counts"))
        if head is not None:
            faults += self._head_faults(head, head_place)
        seen = self._logs.get(name or "", {})
        return Report(
            tuple(faults),
            log=name,
            worker=self._worker,
            entries=len(seen),
            first=min(seen, default=0),
            last=max(seen, default=0),
            hash=seen[max(seen)].hash if seen else "",
            begins=min((each.time for each in seen.values()), default=0.0),
            ends=max((each.time for each in seen.values()), default=0.0),
            repeated=self._repeated,
            torn=self._healed,
            decisions=self._decisions,
        )

    def _heal(self, entry: Entry) -> None:
        """Forget the damaged lines that are the beginning of this one."""
        if self._torn:
            line = entry.line
            left = deque(each for each in self._torn if not line.startswith(each[1].text))
            self._healed += len(self._torn) - len(left)
            self._torn = left

    def _counts(self, entry: Entry, place: str) -> bool:
        fault = self.signature_fault(entry)
        if fault is not None:
            self._faults.append(Fault(fault[0], place, fault[1], entry.sequence))
        return fault is None

    def signature_fault(self, entry: Entry) -> tuple[Problem, str] | None:
        """Return why an entry does not count, None if it does."""
        what = f"entry {entry.sequence}"
        try:
            producer = self._producer(entry.chain)
        except RejectedError as error:
            said = error.rejection.detail.replace("producer", "worker")
            return Problem.CERTIFICATE_INVALID, f"{what}: {said}"
        if not producer.verifies(entry.signature, entry.signed):
            return Problem.SIGNATURE_INVALID, f"{what} is not what was signed"
        signer = producer.svid.spiffe_id
        self._worker = self._worker or signer
        if signer != self._worker or entry.worker != signer:
            return Problem.FOREIGN_SIGNER, f"{what} is signed by {signer}, not by {self._worker}"
        if not producer.svid.is_valid_at(entry.time):
            said = "the certificate was not valid then, or its authority was retired before"
            return Problem.CERTIFICATE_INVALID, f"{what}: {said}"
        return None

    def _add(self, entry: Entry, place: str) -> None:
        if entry.log not in self._logs:
            if self._logs:
                self._faults.append(
                    Fault(
                        Problem.ANOTHER_LOG,
                        place,
                        f"entry {entry.sequence} is of another log, {entry.log}: the head of the "
                        "first was lost or deleted, or the input is that of two workers",
                        entry.sequence,
                    )
                )
            self._logs[entry.log] = {}
        seen = self._logs[entry.log]
        known = seen.get(entry.sequence)
        if known is not None and known.hash == entry.hash:
            self._repeated += 1
            return
        if known is not None:
            sentence = f"entry {entry.sequence} is also at {known.place}, with another content"
            self._faults.append(Fault(Problem.CONFLICT, place, sentence, entry.sequence))
            return
        if seen and entry.sequence < (last := next(reversed(seen))):
            sentence = f"entry {entry.sequence} is behind entry {last}"
            self._faults.append(Fault(Problem.OUT_OF_ORDER, place, sentence, entry.sequence))
        seen[entry.sequence] = _Seen(place, entry.hash, entry.previous, entry.time)
        decision = str(entry.members["decision"])
        self._decisions[decision] = self._decisions.get(decision, 0) + 1

    def _head_faults(self, head: Head, place: str) -> Iterator[Fault]:
        for each in head.entries:
            fault = self.signature_fault(each)
            if fault is not None:
                yield Fault(fault[0], place, fault[1], each.sequence)
        seen = self._logs.get(head.log)
        if seen is None:
            if self._logs:
                sentence = f"the head is of the log {head.log}, of which no entry is here"
                yield Fault(Problem.HEAD_DIFFERS, place, sentence, head.sequence)
            return
        last = max(seen)
        if last < head.sequence:
            kept = sum(each.sequence > last for each in head.entries)
            sentence = f"{_span(last + 1, head.sequence)} missing at the end"
            also = f"; the head has the last {kept} of them" if kept else ""
            yield Fault(Problem.TRUNCATED, place, sentence + also, last + 1)
        elif last > head.sequence:
            sentence = f"the head is at entry {head.sequence}, behind entry {last} of the log"
            yield Fault(Problem.HEAD_DIFFERS, place, sentence, head.sequence)
        for each in head.entries:
            if each.sequence in seen and seen[each.sequence].hash != each.hash:
                sentence = (
                    f"entry {each.sequence} of the head has another content than "
                    f"{seen[each.sequence].place}"
                )
                yield Fault(Problem.HEAD_DIFFERS, place, sentence, each.sequence)


def check_head(head: Head, bundles: Mapping[str, SPIFFEBundle], worker: str) -> None:
    """Raise `HeadError` unless the worker with a SPIFFE ID signed the entries of a head.

    The authority of the last entry must be known. That entry vouches for those before it by its
    hash, so their authorities may be forgotten.
    """
    verifier = Verifier(bundles, worker=worker)
    for each in head.entries:
        fault = verifier.signature_fault(each)
        if fault is None:
            continue
        problem, sentence = fault
        if problem is not Problem.CERTIFICATE_INVALID or each is head.entries[-1]:
            raise HeadError(sentence)


def _chain_faults(seen: Mapping[int, _Seen], first: int) -> Iterator[Fault]:
    """Yield what is wrong with the order of entries by their numbers."""
    numbers = sorted(seen)
    if numbers[0] > first:
        sentence = f"{_span(first, numbers[0] - 1)} missing at the beginning"
        yield Fault(Problem.MISSING, seen[numbers[0]].place, sentence, first)
    latest = seen[numbers[0]].time
    for before, number in pairwise(numbers):
        each = seen[number]
        if number > before + 1:
            sentence = f"{_span(before + 1, number - 1)} missing before entry {number}"
            yield Fault(Problem.MISSING, each.place, sentence, before + 1)
        elif each.previous != seen[before].hash:
            sentence = f"entry {number} does not have the hash of entry {before}"
            yield Fault(Problem.NOT_LINKED, each.place, sentence, number)
        if each.time < latest - TOLERANCE:
            sentence = (
                f"entry {number} is {int(latest - each.time)} s older than an entry before it: the "
                "worker's clock was wrong, or somebody signed with an old key"
            )
            yield Fault(Problem.TIME_REVERSED, each.place, sentence, number)
        latest = max(latest, each.time)


def _span(first: int, last: int) -> str:
    return f"entry {first} is" if first == last else f"entries {first} to {last} are"


def _unreadable(place: str, damaged: Damaged) -> Fault:
    sentence = f"the line begins as an entry and is none: {damaged.fault}"
    return Fault(Problem.UNREADABLE, place, sentence)


def merged(maps: Iterable[Mapping[str, SPIFFEBundle]]) -> dict[str, SPIFFEBundle]:
    """Return the bundles of several bundle maps as one.

    It has the authorities of all. One that a map has as retired is retired, at the earliest time.
    """
    found: dict[str, SPIFFEBundle] = {}
    for each in maps:
        for domain, bundle in each.items():
            found[domain] = _both(found[domain], bundle) if domain in found else bundle
    return found


def _both(one: SPIFFEBundle, other: SPIFFEBundle) -> SPIFFEBundle:
    authorities = tuple(dict.fromkeys((*one.x509_authorities, *other.x509_authorities)))
    ended = [each.retired_authorities for each in (one, other)]
    retired = {
        pem: min(each[pem] for each in ended if pem in each)
        for pem in authorities
        if any(pem in each for each in ended)
    }
    return SPIFFEBundle(one.trust_domain, authorities, one.jwt_keys, retired)
