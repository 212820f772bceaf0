"""Findings as lines of text and of Markdown. Untrusted text in them is escaped and bounded.

Names come from files, which may hold anything, and evidence may quote an annotation. Neither may
control a terminal, change the direction of text, or become a link, an image or HTML.
"""

import re

from troth.audit.evaluation import severity_of
from troth.audit.finding import Evidence, Finding, Unseen
from troth.audit.registry import RULE_BY_ID
from troth.resources.quoting import quoted

SITE = "https://troth-dev.github.io/troth"

LONGEST_MESSAGE = 1024
LONGEST_EVIDENCE = 512
MOST_EVIDENCE = 16
"""Evidence of one finding that a report shows; the number of the others is stated."""

_MARKDOWN = re.compile(
    r"[\\`*_{}\[\]()<>#!|~&$@:=^]"  # emphasis, code, links, HTML, tables, mentions, addresses
    r"|(?<=www)\."  # GitHub makes links of such names
    r"|^[-+]"  # lists, and below the numbered ones
    + "".join(rf"|(?<=^\d{{{digits}}})[.)]" for digits in range(1, 10)),
    re.IGNORECASE,
)


def page_of(rule: str) -> str:
    """Return the address of a rule's page."""
    return f"{SITE}/findings/{rule}/"


def plain(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return untrusted text as one printable line of at most `longest` characters.

    Tokens are redacted, and characters that control a terminal or the direction of text escaped.
    """
    line = quoted(text)
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def markdown(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return untrusted text as Markdown that renders as the same text, in one line.

    Characters with a meaning become numeric references, which never have it (CommonMark, 2.5).
    """
    return _MARKDOWN.sub(lambda found: f"&#{ord(found[0])};", plain(text, longest).strip())


def message(finding: Finding) -> str:
    """Return the message of a finding as one printable line that begins with its subject."""
    return plain(f"{finding.subject}: {finding.message}")


def evidence(found: tuple[Evidence, ...]) -> list[str]:
    """Return evidence as printable lines, at most `MOST_EVIDENCE` and the number of the others."""
    lines = [plain(each.sentence, LONGEST_EVIDENCE) for each in found[:MOST_EVIDENCE]]
    left = len(found) - len(lines)
    return [*lines, f"and {left} more"] if left else lines


def unseen(rule: str, missing: tuple[Unseen, ...]) -> str:
    """Return what one rule could not see as one printable line."""
    reasons = [f"{', '.join(each.kinds)} ({each.reason})" for each in missing[:MOST_EVIDENCE]]
    left = len(missing) - len(reasons)
    more = [f"and {left} more"] if left else []
    return plain(
        f"{rule} was not evaluated in full, so that the absence of findings says nothing: "
        f"Troth could not read {'; '.join([*reasons, *more])}"
    )


def markdown_lines(finding: Finding) -> list[str]:
    """Return a finding as lines of a Markdown list, with a link to the rule's page."""
    rule = RULE_BY_ID[finding.rule]
    head = (
        f"- **{severity_of(finding).value}** [{rule.id} {rule.name}]({page_of(rule.id)}): "
        f"{markdown(f'{finding.subject}: {finding.message}')}"
    )
    return [head, *(f"    - {markdown(each)}" for each in evidence(finding.evidence))]
