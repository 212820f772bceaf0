"""Faults of manifests: what is wrong, where, with which value, and what to write instead."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from troth.resources.schema.sentences import nearest
from troth.resources.schema.sentences import sentence as sentence_of

Step = str | int
"""Step of a path into a manifest: the name of a field, or the position of an item from 0."""

LONGEST_VALUE = 64
MAX_STEP, MAX_PATH = 320, 1024
"""Maximum length in characters of a step in a path, and of a path. A valid key has at most 317."""
MAX_FAULTS = 100
"""Maximum number of faults that are reported of one object."""
_SECRET = re.compile(r"secret|password|credential|private", re.IGNORECASE)
_HIDDEN = re.compile(r"eyJ|-----BEGIN|://[^/]*@|^whsec_|^sk_")


@dataclass(frozen=True, slots=True)
class ManifestFault:
    """One fault of a manifest, and its place.

    Its text does not contain the value, which may be a secret in the wrong place. Only a report on
    files that their author reads, such as that of `troth check`, shows `value`.
    """

    source: str
    """The file, or another name of the input."""
    subject: str
    """Kind, namespace and name of the object."""
    field: str
    """Path of the field, such as `spec.accepts[0].ports`."""
    sentence: str
    code: str = "InvalidField"
    """CamelCase name of the fault."""
    value: str = ""
    """The value as JSON, shortened. Empty if it is not text, a number or a boolean, or if it could
    be a secret."""
    steps: tuple[Step, ...] = ()
    """The path of the field as single steps."""
    line: int = 0
    """Line in the source, from 1; 0 if it is not known."""

    def __str__(self) -> str:
        return self._joined(self.sentence)

    def with_value(self) -> str:
        """Return the text with the value, for the author of the manifest."""
        return self._joined(f"{self.value}: {self.sentence}" if self.value else self.sentence)

    def _joined(self, told: str) -> str:
        place = place_in(self.source, self.line)
        return ": ".join(part for part in (place, self.subject, self.field, told) if part)


class FaultyManifests(Exception):  # noqa: N818 - the name states the fault
    """Raised for invalid manifests; has every fault found."""

    def __init__(self, faults: list[ManifestFault]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = faults


def faults_of(error: ValidationError, source: str, subject: str) -> list[ManifestFault]:
    """Return pydantic's errors as faults, in Troth's words: the first, and how many are left.

    Finding what was meant by each takes time, and who writes a manifest chooses their number.
    """
    faults = []
    for detail in error.errors(include_url=False)[:MAX_FAULTS]:
        steps = tuple(detail["loc"])
        given = detail["input"]
        unknown = detail["type"] == "extra_forbidden"
        missing = detail["type"] == "missing"
        told = sentence_of(detail)
        if detail["type"] in ("enum", "literal_error") and isinstance(given, str):
            told = _with_nearest(told, given, detail["ctx"]["expected"])
        faults.append(
            ManifestFault(
                source,
                subject,
                path(steps),
                told,
                code="UnknownField" if unknown else "MissingField" if missing else "InvalidField",
                value="" if unknown or missing else shown(given, steps),
                steps=steps,
            )
        )
    left = error.error_count() - len(faults)
    if left:
        more = "1 more fault" if left == 1 else f"{left} more faults"
        sentence = f"has {more}; correct the others first"
        faults.append(ManifestFault(source, subject, "", sentence))
    return faults


def _with_nearest(told: str, given: str, expected: str) -> str:
    meant = nearest(given, re.findall(r"'([^']*)'", expected))
    return f"did you mean {meant!r}? {told}" if meant else told


def place_in(source: str, line: int) -> str:
    """Return a place as compilers print it: `source:line`, without a line if that is 0.

    A line that begins with `::` is a command for a runner of GitHub Actions, and a pull request
    chooses the names of files.
    """
    place = f"./{source}" if source.lstrip().startswith("::") else source
    return f"{place}:{line}" if source and line else place


def path(steps: Iterable[Step]) -> str:
    """Return a path as text, such as `spec.accepts[0].ports`. A long one is shortened."""
    text = ""
    for step in steps:
        text += f"[{step}]" if isinstance(step, int) else f".{short(step)}"
        if len(text) > MAX_PATH:
            return f"{text.removeprefix('.')[: MAX_PATH - 1]}…"
    return text.removeprefix(".")


def short(step: str) -> str:
    """Return the name of a field or a key, shortened if no object of Kubernetes can have it."""
    return step if len(step) <= MAX_STEP else f"{step[: MAX_STEP - 1]}…"


def shown(value: object, steps: Sequence[Step]) -> str:
    """Return a value for a report: as JSON, shortened. Empty if it could be a secret."""
    if not isinstance(value, str | bool | int | float):
        return ""
    if any(_SECRET.search(step) for step in steps if isinstance(step, str)):
        return ""
    if isinstance(value, str):
        if _HIDDEN.search(value):
            return ""
        if len(value) > LONGEST_VALUE:
            value = f"{value[: LONGEST_VALUE - 1]}…"
    try:
        text = json.dumps(value, ensure_ascii=False)
    except ValueError:  # an integer of thousands of digits
        return ""
    if len(text) > 2 * LONGEST_VALUE:
        return ""
    return "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text)
