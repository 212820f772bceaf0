"""Lines of text and Markdown, whose untrusted parts control nothing."""

import re
from dataclasses import replace
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from tests.audit.reports.building import (
    BIDI,
    ESCAPE,
    HOSTILE,
    LINES,
    TOKEN,
    evaluation,
    finding,
    hostile,
    terminal_lines,
)
from troth.audit.finding import Evidence, Unseen
from troth.audit.reports import text
from troth.resources.reported import Severity

EVERY = pytest.mark.parametrize("given_text", HOSTILE)


def test_lines_name_severity_rule_subject_id_message_and_evidence() -> None:
    one = finding()
    rule, subject, message, evidence, *_ = terminal_lines(evaluation([one]))
    assert rule.startswith("medium  TR701 DefaultServiceAccount  ")
    assert subject == f"  Deployment shop/web  {one.id}"
    assert message == f"    {one.message}"
    assert evidence == "      spec.template.spec.serviceAccountName: is default"


def test_severity_of_a_finding_counts_before_the_rules() -> None:
    one = replace(finding(), severity=Severity.CRITICAL)
    assert terminal_lines(evaluation([one]))[0].startswith("critical ")
    assert text.markdown_lines(one)[0].startswith("- **critical** ")


def test_markdown_links_the_rules_page() -> None:
    first, second = text.markdown_lines(finding())
    assert first.startswith(
        "- **medium** [TR701 DefaultServiceAccount]"
        "(https://troth-dev.github.io/troth/findings/TR701/): Deployment shop/web&#58; it runs"
    )
    assert second.startswith("    - Deployment shop/web spec.template")


@EVERY
def test_every_line_of_text_is_printable(given_text: str) -> None:
    one = hostile(given_text)
    found = evaluation([one], excepted=[(one, f"shop/{given_text}")])
    lines = [*terminal_lines(found), *text.markdown_lines(one)]
    assert all(each.isprintable() for each in lines)
    assert not any(TOKEN in each for each in lines)


def test_control_sequences_line_ends_and_direction_marks_are_shown_as_escapes() -> None:
    assert text.plain(ESCAPE).startswith(r"\x1b[2Jweb\x1b]8")
    assert text.plain(BIDI) == r"web\u202efdp.exe\u2066"
    assert text.plain(LINES) == r"web\n- **critical** forged\r\u2028# Heading"


JUDGE = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def _rendered(line: str) -> str:
    return str(JUDGE.render(line)).strip()


@EVERY
def test_markdown_of_hostile_text_renders_as_that_text(given_text: str) -> None:
    _assert_text(given_text)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_markdown_of_any_text_renders_as_that_text(anything: str) -> None:
    _assert_text(anything)


@given(st.text(st.sampled_from("[]()<>!`*_~#|10.-+= \\&;:/@axh\n"), max_size=30))
def test_markdown_of_punctuation_renders_as_that_text(anything: str) -> None:
    _assert_text(anything)


def _assert_text(anything: str) -> None:
    for before, after in (("", ""), ("name ", " end")):
        html = _rendered(f"{before}{text.markdown(anything)}{after}")
        assert re.findall(r"<[^>]*>", html) in (["<p>", "</p>"], [])
        shown = unescape(html.removeprefix("<p>").removesuffix("</p>"))
        assert shown.split() == f"{before}{text.plain(anything)}{after}".split()


@EVERY
def test_markdown_of_a_finding_has_the_links_of_its_rule_alone(given_text: str) -> None:
    html = _rendered("\n".join(text.markdown_lines(hostile(given_text))))
    assert re.findall(r'(?:href|src)="([^"]*)"', html) == [text.page_of("TR701")]
    assert "<script" not in html
    assert "<img" not in html
    assert html.count("<li>") == 2


def test_markdown_makes_no_mention_and_no_bare_address() -> None:
    shown = text.markdown("@octocat https://evil.example www.evil.example 1. item")
    assert "@" not in shown
    assert "://" not in shown
    assert "www." not in shown


def test_long_text_is_cut() -> None:
    assert text.plain("a" * 2000) == "a" * 1023 + "…"
    assert len(text.plain("\x1b" * 2000)) == 1024


def test_long_names_are_cut_on_a_terminal() -> None:
    long = "a" * 100_000
    one = finding(long, long, message=long, shows=long, owner=long)
    of_other = Evidence(finding(long, long, kind="Pod").subject, "spec.x", long)
    one = replace(one, evidence=(*one.evidence, of_other))
    unseen = Unseen("TR701", (f"MessageBroker shop/{long}",), long)
    for found in (evaluation([one]), evaluation([], [unseen], [(one, long)])):
        assert max(map(len, terminal_lines(found))) < 2200
    assert f"  {one.id}  owner aaa" in "\n".join(terminal_lines(evaluation([one])))


def test_many_lines_of_evidence_are_counted() -> None:
    one = finding()
    every = tuple(Evidence(one.subject, f"spec.field[{number}]") for number in range(20))
    lines = text.evidence(every)
    assert len(lines) == 17
    assert lines[-1] == "and 4 more"


def test_what_a_rule_could_not_see_is_one_sentence() -> None:
    missing = (
        Unseen("TR701", ("Pod", "Job"), "you may not list them"),
        Unseen("TR701", ("traffic",), "nobody watches"),
    )
    assert text.unseen("TR701", missing) == (
        "TR701 was not evaluated in full, so that the absence of findings says nothing: Troth "
        "could not read Pod, Job (you may not list them); traffic (nobody watches)"
    )
