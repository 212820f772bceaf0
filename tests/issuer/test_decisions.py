"""Decision log: requested values are logged, but never a token in the wrong field."""

import pytest
import structlog
from structlog.testing import capture_logs

from troth.issuer.decisions import Decision, Decisions

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"


@pytest.fixture(autouse=True)
def _unconfigured() -> None:
    """Reset the configuration, because another test of this process may have raised the level."""
    structlog.reset_defaults()


@pytest.mark.parametrize("field", ["audience", "scope"])
@pytest.mark.parametrize("text", [TOKEN, f"x {TOKEN}", TOKEN[:40], f"{TOKEN}={TOKEN}", "b" + TOKEN])
def test_token_in_the_wrong_field_is_redacted(field: str, text: str) -> None:
    decision = Decision(**{field: text})
    with capture_logs() as lines:
        Decisions().record(decision, 0.001)
    (line,) = lines
    assert "(a token)" in line[field]
    assert TOKEN[3:20] not in str(line)


def test_requested_audience_and_scope_are_logged() -> None:
    decision = Decision(audience="spiffe://a/ns/b/sa/keyJar", scope="a.b c_d")
    with capture_logs() as lines:
        Decisions().record(decision, 0.001)
    assert lines[0]["scope"] == "a.b c_d"
    assert lines[0]["audience"] == "spiffe://a/ns/b/sa/keyJar"


@pytest.mark.parametrize("field", ["audience", "scope"])
def test_requested_text_is_one_line_of_bounded_length(field: str) -> None:
    said = "a\nlevel=info event=decided outcome=issued\x1b[2J\u2028\udcff" + "x" * 300
    with capture_logs() as lines:
        Decisions().record(Decision(**{field: said}), 0.001)
    text = lines[0][field]
    assert text.startswith("a\\nlevel=info event=decided outcome=issued\\x1b[2J\\u2028\\udcff")
    assert text.isascii()
    assert text.isprintable()
    assert text.endswith("x...")
