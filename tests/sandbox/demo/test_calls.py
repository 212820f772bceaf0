"""The demo detects every outcome of a call that differs from the declarations."""

from dataclasses import replace

import pytest

from sandbox.demo.calls.outcomes import trial
from sandbox.demo.calls.sampling import Samples
from sandbox.demo.calls.table import EXPIRED, NOT_ACCEPTED, Call
from sandbox.demo.cast import CHECKOUT, FULFILMENT, PAYMENTS
from sandbox.demo.trials import run
from sandbox.node.workload import Layer, Mode, Outcome

WHO = "spiffe://prod.shop.example/ns/shop/sa/payments"
EDGE = Call(
    *(CHECKOUT, PAYMENTS, "https", "by both sides"),
    expect=WHO,
    scope="payments.charge",
    scopes=("payments.charge",),
)
NOT_GRANTED = replace(EDGE, scope="payments.admin")
UNDECLARED = Call(
    *(FULFILMENT, PAYMENTS, "https", "by neither side"),
    expect=WHO,
    passes=False,
    rejection=NOT_ACCEPTED,
)
ATTACK = replace(UNDECLARED, passes=True, rejection=EXPIRED)
GRANTED = Outcome(Layer.ANSWERED, server=WHO, scopes=("payments.charge",))
TOO_MUCH = Outcome(Layer.ANSWERED, server=WHO, scopes=("payments.admin", "payments.charge"))
SCOPE_REJECTED = Outcome(Layer.SCOPE, server=WHO, scopes=("payments.charge",))
REJECTED = Outcome(Layer.NETWORK, reason="rejected")
BAD_CERTIFICATE = Outcome(Layer.HANDSHAKE, "server", "bad certificate")
HAS_EXPIRED = Outcome(Layer.HANDSHAKE, "server", "expired certificate")


def is_wrong(call: Call, outcome: Outcome, *, filtered: bool = True) -> bool:
    (result,) = run([trial(call, lambda _: outcome, filtered=filtered)])
    return result.is_wrong


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        (EDGE, GRANTED),
        (NOT_GRANTED, SCOPE_REJECTED),
        (UNDECLARED, REJECTED),
        (ATTACK, HAS_EXPIRED),
        (replace(EDGE, mode=Mode.CONNECT, scope="", scopes=()), Outcome(Layer.ANSWERED)),
    ],
)
def test_declared_outcome_is_right(call: Call, outcome: Outcome) -> None:
    assert not is_wrong(call, outcome)


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        (EDGE, REJECTED),
        (EDGE, BAD_CERTIFICATE),
        (EDGE, SCOPE_REJECTED),
        (EDGE, replace(GRANTED, server=f"{WHO}-not")),
        (EDGE, TOO_MUCH),
        (EDGE, replace(GRANTED, scopes=())),
        (NOT_GRANTED, GRANTED),
        (NOT_GRANTED, TOO_MUCH),
        (UNDECLARED, BAD_CERTIFICATE),
        (UNDECLARED, GRANTED),
        (UNDECLARED, Outcome(Layer.NETWORK, reason="closed")),
        (UNDECLARED, Outcome(Layer.NETWORK, reason="timeout")),
        (ATTACK, GRANTED),
        (ATTACK, BAD_CERTIFICATE),
        (ATTACK, replace(HAS_EXPIRED, by="client")),
        (ATTACK, REJECTED),
    ],
)
def test_any_other_outcome_is_wrong(call: Call, outcome: Outcome) -> None:
    assert is_wrong(call, outcome)


def test_without_packet_filter_the_handshake_must_reject() -> None:
    assert not is_wrong(UNDECLARED, BAD_CERTIFICATE, filtered=False)
    assert is_wrong(UNDECLARED, GRANTED, filtered=False)


def test_samples_report_how_long_packets_passed() -> None:
    samples = Samples(
        [
            replace(REJECTED, started=1.0, took=0.001),
            replace(BAD_CERTIFICATE, started=1.1, took=0.001),
            replace(REJECTED, started=1.15, took=0.001),
            replace(BAD_CERTIFICATE, started=1.2, took=0.005),
            replace(REJECTED, started=1.3, took=0.001),
            Outcome(Layer.NETWORK, reason="timeout", started=1.4, took=3.0),
        ]
    )
    assert (samples.rejected, len(samples.passed), samples.lost) == (3, 2, 1)
    assert samples.milliseconds == pytest.approx(105)
