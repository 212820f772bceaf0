"""SARIF 2.1.0, the format of code scanning.

It follows the standard of OASIS (docs.oasis-open.org/sarif/sarif/v2.1.0), and what GitHub's code
scanning reads of it (docs.github.com, "SARIF support for code scanning"). GitHub accepts files of
10 MB after gzip with 25,000 results and 25,000 rules in a run, 1,000 locations in a result and 20
tags in a rule. It shows the 5,000 worst results. It rejects a log with a result that has no file.
"""

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from troth.audit.evaluation import Evaluation, severity_of
from troth.audit.finding import Evidence, Finding, Object
from troth.audit.registry import RULES
from troth.audit.reports import text
from troth.audit.reports.categories import category_of
from troth.audit.reports.results import unseen_results
from troth.audit.rule import Rule
from troth.resources.reported import Severity

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
FINGERPRINT = "trothFinding/v1"
MOST_RESULTS = 25_000

Places = Callable[[Object, str], tuple[str, int] | None]
"""Returns file and line of a field of an object, None if no file has the object. An empty field is
the whole object."""

LEVELS: Mapping[Severity, str] = {
    Severity.CRITICAL: "error",
    Severity.HIGH: "error",
    Severity.MEDIUM: "warning",
    Severity.LOW: "note",
    Severity.INFO: "note",
}
SCORES: Mapping[Severity, str] = {
    Severity.CRITICAL: "9.5",
    Severity.HIGH: "8.0",
    Severity.MEDIUM: "5.5",
    Severity.LOW: "2.0",
}
"""Values of `security-severity`. GitHub reads more than 9.0 as critical, from 7.0 as high, from 4.0
as medium and from 0.1 as low; a rule without one is not about security."""

_INDEX = {rule.id: index for index, rule in enumerate(RULES)}
_SPECIAL = re.compile(r"[\[\]\\]")


def sarif(
    evaluation: Evaluation, places: Places, version: str, elsewhere: str = ""
) -> dict[str, Any]:
    """Return an evaluation as a SARIF log of one run.

    Findings that an exception covers are suppressed results. What rules could not see are
    notifications. `version` is that of Troth. Results about objects in no file are at the first
    line of the file `elsewhere`. Without it, they are notifications.
    """
    every: list[tuple[Finding, str]] = [(each, "") for each in evaluation.findings]
    every += evaluation.excepted
    kept = every[:MOST_RESULTS]
    notifications = [_unseen(each) for each in unseen_results(evaluation.unseen)]
    results = [_result(finding, exception, places, elsewhere) for finding, exception in kept]
    notifications += _in_no_file([each for each in results if not _has_file(each)])
    if len(every) > len(kept):
        notifications.append(_left_out(len(every) - len(kept)))
    return {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": _driver(version)},
                "automationDetails": {"id": "troth-audit/"},
                "invocations": [
                    {
                        "executionSuccessful": True,
                        "toolExecutionNotifications": notifications,
                    }
                ],
                "columnKind": "unicodeCodePoints",
                "results": [each for each in results if _has_file(each)],
            }
        ],
    }


def _driver(version: str) -> dict[str, Any]:
    return {
        "name": "Troth",
        "version": version,
        "informationUri": text.SITE,
        "rules": [_rule(rule) for rule in RULES],
    }


def _rule(rule: Rule) -> dict[str, Any]:
    page = text.page_of(rule.id)
    title = rule.title.replace("`", "")
    properties: dict[str, Any] = {"tags": ["security", category_of(rule.id)]}
    if rule.severity in SCORES:
        properties["security-severity"] = SCORES[rule.severity]
    return {
        "id": rule.id,
        "name": rule.name,
        "shortDescription": {"text": title},
        "fullDescription": {"text": title},
        "help": {
            "text": f"{title} Why it matters and the way out: {page}",
            "markdown": f"{rule.title} [Why it matters, and the way out]({page}).",
        },
        "helpUri": page,
        "defaultConfiguration": {"level": LEVELS[rule.severity]},
        "properties": properties,
    }


def _result(finding: Finding, exception: str, places: Places, elsewhere: str) -> dict[str, Any]:
    rule = RULES[_INDEX[finding.rule]]
    located = [(each, places(each.object, each.field)) for each in finding.evidence]
    main = next((each for each in located if each[1]), None)
    place = main[1] if main else places(finding.subject, "")
    if place is None and elsewhere:
        place = elsewhere, 1
    evidence = text.evidence(finding.evidence)
    severity = severity_of(finding)
    properties = {
        "owner": text.plain(finding.owner),
        "severity": severity.value,
        "security-severity": SCORES.get(severity, ""),
        "evidence": evidence,
    }
    result: dict[str, Any] = {
        "ruleId": rule.id,
        "ruleIndex": _INDEX[rule.id],
        "level": LEVELS[severity],
        "message": {
            "text": _escaped(text.message(finding)),
            "markdown": text.markdown(f"{finding.subject}: {finding.message}"),
        },
        "locations": [_location(finding.subject, place)],
        "partialFingerprints": {FINGERPRINT: finding.id},
        "properties": {name: value for name, value in properties.items() if value},
    }
    related = [
        {**_location(each.object, where), "message": {"text": _escaped(_shown(each))}}
        for each, where in located[: text.MOST_EVIDENCE]
        if where and each is not (main and main[0])
    ]
    if related:
        result["relatedLocations"] = related
    if exception:
        justification = f"FindingException {text.plain(exception)}"
        result["suppressions"] = [
            {"kind": "external", "status": "accepted", "justification": justification}
        ]
    return result


def _shown(evidence: Evidence) -> str:
    return text.plain(evidence.sentence, text.LONGEST_EVIDENCE)


def _location(subject: Object, place: tuple[str, int] | None) -> dict[str, Any]:
    kind, ref = subject
    parts = [text.plain(each) for each in (ref.namespace, kind, ref.name) if each]
    location: dict[str, Any] = {
        "logicalLocations": [
            {"name": parts[-1], "fullyQualifiedName": "/".join(parts), "kind": "resource"}
        ]
    }
    if place:
        path, line = place
        location["physicalLocation"] = {
            "artifactLocation": _artifact(path),
            "region": {"startLine": max(1, line)},
        }
    return location


def _artifact(path: str) -> dict[str, str]:
    """Return the address of a file. A relative path is below the root of the sources."""
    normal = posixpath.normpath(path)
    if posixpath.isabs(normal):
        return {"uri": f"file:///{_quoted(normal.lstrip('/'))}"}
    return {"uri": _quoted(normal), "uriBaseId": "%SRCROOT%"}


def _quoted(path: str) -> str:
    """Return a path for a URI. Bytes that are not text have the form that `os.fsdecode` gives."""
    return quote(path, errors="surrogateescape")


def _unseen(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the notification of what a rule could not see, from its result in a report."""
    rule = result["policy"]
    return {
        "level": "error" if result["result"] == "error" else "warning",
        "message": {"text": _escaped(result["message"])},
        "associatedRule": {"id": rule, "index": _INDEX[rule]},
    }


def _has_file(result: Mapping[str, Any]) -> bool:
    return "physicalLocation" in result["locations"][0]


def _in_no_file(results: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the number of results without a file, and each that no exception covers."""
    found = [each for each in results if "suppressions" not in each]
    if not found:
        return
    number = "1 finding is" if len(found) == 1 else f"{len(found)} findings are"
    sentence = f"{number} in no file, and so no result; name the manifests with troth audit -f"
    yield {"level": "warning", "message": {"text": sentence}}
    for each in found:
        yield {
            "level": each["level"],
            "message": each["message"],
            "locations": each["locations"],
            "associatedRule": {"id": each["ruleId"], "index": each["ruleIndex"]},
        }


def _left_out(number: int) -> dict[str, Any]:
    sentence = (
        f"{number} results are left out, those of the lowest severity first, because code scanning "
        f"takes {MOST_RESULTS}; use troth audit with --namespace or --rule to see them"
    )
    return {"level": "error", "message": {"text": sentence}}


def _escaped(line: str) -> str:
    """Return a line as a SARIF message, in which brackets make links and braces placeholders.

    Section 3.11 of the standard: a backslash escapes a bracket, and braces are doubled.
    """
    line = _SPECIAL.sub(r"\\\g<0>", line)
    return line.replace("{", "{{").replace("}", "}}")
