"""What callers write may be logged; a token that got into the wrong field may not."""

import pytest
import structlog
from structlog.testing import capture_logs

from troth.issuer.decisions import Decision, Decisions

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLXNpZ25hdHVyZQ"


@pytest.fixture(autouse=True)
def _unconfigured() -> None:
    """Another test of this process may have configured that less is logged."""
    structlog.reset_defaults()


@pytest.mark.parametrize("field", ["audience", "scope"])
@pytest.mark.parametrize("text", [TOKEN, f"x {TOKEN}", TOKEN[:40], f"{TOKEN}={TOKEN}", "b" + TOKEN])
def test_a_token_in_the_wrong_field_is_not_logged(field: str, text: str) -> None:
    decision = Decision(**{field: text})
    with capture_logs() as lines:
        Decisions().record(decision, 0.001)
    (line,) = lines
    assert "(a token)" in line[field]
    assert TOKEN[3:20] not in str(line)


def test_what_was_asked_for_is() -> None:
    decision = Decision(audience="spiffe://a/ns/b/sa/keyJar", scope="a.b c_d")
    with capture_logs() as lines:
        Decisions().record(decision, 0.001)
    assert lines[0]["scope"] == "a.b c_d"
    assert lines[0]["audience"] == "spiffe://a/ns/b/sa/keyJar"
