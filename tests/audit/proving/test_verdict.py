"""Verdicts: when a probe has proven something, and when it has not."""

import pytest

from troth.audit.proving.probe import Probe, ProbeName, Target
from troth.audit.proving.round import Observed
from troth.audit.proving.verdict import judge
from troth.documents import probes
from troth.documents.probes import Instruction, Outcome, Seen
from troth.resources.references import Ref
from troth.resources.reported import Expectation, Layer

DONE = Seen(Outcome.ANSWERED, 200)
OPEN = Seen(Outcome.CONNECTED)
TRANSPORT = Layer.TRANSPORT


def probe(name: ProbeName, layer: Layer = Layer.NETWORK) -> Probe:
    passes = name is ProbeName.DECLARED_EDGE
    return Probe(
        name,
        Target(Ref("shop", "payments"), "https"),
        Ref("shop", "checkout"),
        Expectation.PASSES if passes else Expectation.FAILS,
        layer,
        Instruction("10.0.0.7", 8443, passes=passes),
    )


def answered(status: int, code: str = "") -> Seen:
    return Seen(Outcome.ANSWERED, status, code)


def verdict(name: ProbeName, seen: Seen | None, **known: object) -> str:
    """Return result and layer of a probe, such as `Proven Network`."""
    layer = known.pop("layer", Layer.NETWORK if name is ProbeName.UNDECLARED_EDGE else TRANSPORT)
    assert isinstance(layer, Layer)
    observed = Observed(seen, **({"answered": True} | known))  # type: ignore[arg-type]
    found = judge(probe(name, layer), observed)
    return f"{found.result} {found.layer or ''}".strip()


BROKEN = pytest.mark.parametrize("outcome", [Outcome.ALERT, Outcome.CLOSED], ids=str)
STOPPED = pytest.mark.parametrize("outcome", sorted(probes.STOPPED), ids=str)


class TestUndeclaredEdge:
    """The heart: a failure counts only between two successes of a declared caller."""

    NAME = ProbeName.UNDECLARED_EDGE

    @STOPPED
    def test_failure_between_two_successes_is_proven(self, outcome: Outcome) -> None:
        assert verdict(self.NAME, Seen(outcome), before=DONE, after=OPEN) == "Proven Network"

    @STOPPED
    def test_failure_without_a_declared_caller_proves_nothing(self, outcome: Outcome) -> None:
        assert verdict(self.NAME, Seen(outcome)) == "Inconclusive"

    @STOPPED
    def test_failure_at_a_callee_that_was_down_before_proves_nothing(
        self, outcome: Outcome
    ) -> None:
        down = Seen(Outcome.RESET)
        assert verdict(self.NAME, Seen(outcome), before=down, after=OPEN) == "Inconclusive"

    @STOPPED
    def test_failure_at_a_callee_that_is_down_afterwards_proves_nothing(
        self, outcome: Outcome
    ) -> None:
        down = Seen(Outcome.TIMEOUT)
        assert verdict(self.NAME, Seen(outcome), before=DONE, after=down) == "Inconclusive"

    @STOPPED
    def test_failure_that_nobody_followed_up_proves_nothing(self, outcome: Outcome) -> None:
        assert verdict(self.NAME, Seen(outcome), before=DONE) == "Inconclusive"

    @STOPPED
    def test_failure_of_a_pod_whose_network_is_down_proves_nothing(self, outcome: Outcome) -> None:
        known = {"before": DONE, "after": OPEN, "answered": False}
        assert verdict(self.NAME, Seen(outcome), **known) == "Inconclusive"

    @STOPPED
    def test_control_that_got_no_token_is_no_control(self, outcome: Outcome) -> None:
        unmade = Seen(Outcome.NO_TOKEN)
        assert verdict(self.NAME, Seen(outcome), before=unmade, after=OPEN) == "Inconclusive"

    def test_connection_is_disproven_without_any_control(self) -> None:
        assert verdict(self.NAME, OPEN) == "Disproven Network"

    def test_pod_without_a_report_proves_nothing(self) -> None:
        assert verdict(self.NAME, None, before=DONE, after=OPEN) == "Inconclusive"

    def test_observed_callee_that_rejects_the_certificate_is_proven(self) -> None:
        seen = answered(403, "caller-not-accepted")
        found = verdict(self.NAME, seen, before=DONE, layer=TRANSPORT)
        assert found == "Proven Application"

    def test_observed_callee_that_answers_is_disproven(self) -> None:
        assert verdict(self.NAME, DONE, before=DONE, layer=TRANSPORT) == "Disproven Transport"


class TestDeclaredEdge:
    NAME = ProbeName.DECLARED_EDGE

    @pytest.mark.parametrize(
        ("seen", "expected"),
        [
            (answered(200), "Proven Application"),
            (answered(404), "Proven Application"),
            (answered(302), "Proven Application"),
            (answered(403, "transaction-missing"), "Proven Application"),
            (answered(403, "webhook-token-missing"), "Proven Application"),
            (answered(403, "caller-not-accepted"), "Disproven Application"),
            (answered(403, "certificate-missing"), "Disproven Application"),
            (answered(401, "token-signature"), "Disproven Token"),
            (answered(401), "Inconclusive"),
            (answered(403), "Inconclusive"),
            (answered(429), "Inconclusive"),
            (answered(503), "Inconclusive"),
            (Seen(Outcome.GARBLED), "Proven Transport"),
            (Seen(Outcome.ALERT), "Disproven Transport"),
            (Seen(Outcome.NOT_TLS), "Disproven Transport"),
            (Seen(Outcome.UNTRUSTED), "Disproven Transport"),
            (Seen(Outcome.WRONG_SERVER), "Disproven Transport"),
            (Seen(Outcome.CLOSED), "Inconclusive"),
            (Seen(Outcome.SILENT), "Inconclusive"),
            (Seen(Outcome.TOKEN_REFUSED, code="invalid-target"), "Disproven Token"),
            (Seen(Outcome.NO_TOKEN, code="unreachable"), "Inconclusive"),
            (Seen(Outcome.FAILED), "Inconclusive"),
            (None, "Inconclusive"),
        ],
        ids=str,
    )
    def test_verdict_follows_from_what_was_seen(self, seen: Seen | None, expected: str) -> None:
        assert verdict(self.NAME, seen) == expected

    def test_callee_that_may_be_down_proves_nothing(self) -> None:
        for outcome in (Outcome.TIMEOUT, Outcome.UNREACHABLE, Outcome.RESET):
            assert verdict(self.NAME, Seen(outcome)) == "Inconclusive"

    def test_edge_is_closed_if_another_caller_connects(self) -> None:
        for outcome in (Outcome.TIMEOUT, Outcome.UNREACHABLE, Outcome.RESET):
            assert verdict(self.NAME, Seen(outcome), before=DONE) == "Disproven Network"

    def test_packet_filter_that_rejects_the_connection_closes_the_edge(self) -> None:
        assert verdict(self.NAME, Seen(Outcome.REJECTED)) == "Disproven Network"


PRESENTATIONS = pytest.mark.parametrize(
    "name",
    [
        ProbeName.FORGED_HEADERS,
        ProbeName.OTHER_TOKEN,
        ProbeName.NO_CERTIFICATE,
        ProbeName.OTHER_CERTIFICATE,
    ],
    ids=str,
)


@PRESENTATIONS
class TestPresentations:
    """Credentials that must be rejected, from a caller that may connect."""

    @pytest.mark.parametrize(
        ("seen", "control", "expected"),
        [
            (answered(401, "token-missing"), DONE, "Proven Token"),
            (answered(403, "certificate-missing"), DONE, "Proven Application"),
            (answered(401), DONE, "Proven Application"),
            (answered(400), answered(404), "Proven Application"),
            (answered(401, "token-missing"), answered(403, "transaction-missing"), "Proven Token"),
            # accepted
            (DONE, DONE, "Disproven Transport"),
            (answered(404), answered(404), "Disproven Transport"),
            (answered(403, "transaction-missing"), DONE, "Disproven Transport"),
            (
                answered(403, "transaction-missing"),
                answered(403, "transaction-missing"),
                "Disproven Transport",
            ),
            (Seen(Outcome.GARBLED), Seen(Outcome.GARBLED), "Disproven Transport"),
            # not decided
            (answered(403), answered(403), "Inconclusive"),
            (answered(401, "token-missing"), answered(401, "token-missing"), "Inconclusive"),
            (answered(404), DONE, "Inconclusive"),
            (answered(302), DONE, "Inconclusive"),
            (answered(429), DONE, "Inconclusive"),
            (answered(503), DONE, "Inconclusive"),
            (answered(401, "token-missing"), None, "Inconclusive"),
            (Seen(Outcome.ALERT), DONE, "Inconclusive"),
            (Seen(Outcome.ALERT), Seen(Outcome.ALERT), "Inconclusive"),
            (Seen(Outcome.ALERT), Seen(Outcome.TIMEOUT), "Inconclusive"),
            (Seen(Outcome.TIMEOUT), DONE, "Inconclusive"),
            (Seen(Outcome.RESET), DONE, "Inconclusive"),
            (Seen(Outcome.SILENT), DONE, "Inconclusive"),
            (Seen(Outcome.WRONG_SERVER), DONE, "Inconclusive"),
            (Seen(Outcome.NO_TOKEN), DONE, "Inconclusive"),
            (Seen(Outcome.TOKEN_REFUSED), DONE, "Inconclusive"),
        ],
        ids=str,
    )
    def test_verdict_compares_with_a_declared_caller(
        self, name: ProbeName, seen: Seen, control: Seen | None, expected: str
    ) -> None:
        assert verdict(name, seen, before=control) == expected

    @STOPPED
    def test_failed_connection_is_no_rejection_of_credentials(
        self, name: ProbeName, outcome: Outcome
    ) -> None:
        assert verdict(name, Seen(outcome), before=DONE, after=DONE) == "Inconclusive"

    @BROKEN
    def test_broken_connection_is_a_rejection_only_while_the_callee_answers(
        self, name: ProbeName, outcome: Outcome
    ) -> None:
        seen = Seen(outcome)
        for answer in (DONE, Seen(Outcome.GARBLED)):
            assert verdict(name, seen, before=answer, after=answer) == "Proven Transport"
        for after in (Seen(Outcome.RESET), Seen(outcome), None):
            assert verdict(name, seen, before=DONE, after=after) == "Inconclusive"

    @BROKEN
    def test_broken_connection_rejects_no_token(self, name: ProbeName, outcome: Outcome) -> None:
        """The handshake does not depend on the token or on headers."""
        found = verdict(name, Seen(outcome), before=DONE, after=DONE, layer=Layer.TOKEN)
        assert found == "Inconclusive"
