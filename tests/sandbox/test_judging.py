"""What the demo calls right and wrong: every way in which a call can be other than declared."""

from dataclasses import replace

import pytest

from sandbox.demo.cast import CHECKOUT, FULFILMENT, PAYMENTS
from sandbox.demo.judging import judge
from sandbox.demo.sampling import Samples
from sandbox.demo.trials import EXPIRED, NOT_A_PEER, Trial
from sandbox.node.workload import Layer, Mode, Outcome

WHO = "spiffe://prod.shop.example/ns/shop/sa/payments"
EDGE = Trial(
    *(CHECKOUT, PAYMENTS, "https", "by both"),
    expect=WHO,
    scope="payments.charge",
    scopes=("payments.charge",),
)
NOT_GRANTED = replace(EDGE, scope="payments.admin")
UNDECLARED = Trial(
    *(FULFILMENT, PAYMENTS, "https", "by neither"),
    expect=WHO,
    passes=False,
    refusal=NOT_A_PEER,
)
ATTACK = replace(UNDECLARED, passes=True, refusal=EXPIRED)
GRANTED = Outcome(Layer.ANSWERED, server=WHO, scopes=("payments.charge",))
TOO_MUCH = Outcome(Layer.ANSWERED, server=WHO, scopes=("payments.admin", "payments.charge"))
REFUSED_SCOPE = Outcome(Layer.SCOPE, server=WHO, scopes=("payments.charge",))
REJECTED = Outcome(Layer.NETWORK, reason="rejected")
NOT_ACCEPTED = Outcome(Layer.HANDSHAKE, "server", "bad certificate")
HAS_EXPIRED = Outcome(Layer.HANDSHAKE, "server", "expired certificate")


@pytest.mark.parametrize(
    ("trial", "outcome"),
    [
        (EDGE, GRANTED),
        (NOT_GRANTED, REFUSED_SCOPE),
        (UNDECLARED, REJECTED),
        (ATTACK, HAS_EXPIRED),
        (replace(EDGE, mode=Mode.CONNECT, scope="", scopes=()), Outcome(Layer.ANSWERED)),
    ],
)
def test_what_is_as_declared_is_right(trial: Trial, outcome: Outcome) -> None:
    assert not judge(trial, outcome, filtered=True).is_wrong


@pytest.mark.parametrize(
    ("trial", "outcome"),
    [
        (EDGE, REJECTED),
        (EDGE, NOT_ACCEPTED),
        (EDGE, REFUSED_SCOPE),
        (EDGE, replace(GRANTED, server=f"{WHO}-not")),
        (EDGE, TOO_MUCH),
        (EDGE, replace(GRANTED, scopes=())),
        (NOT_GRANTED, GRANTED),
        (NOT_GRANTED, TOO_MUCH),
        (UNDECLARED, NOT_ACCEPTED),
        (UNDECLARED, GRANTED),
        (UNDECLARED, Outcome(Layer.NETWORK, reason="closed")),
        (UNDECLARED, Outcome(Layer.NETWORK, reason="timeout")),
        (ATTACK, GRANTED),
        (ATTACK, NOT_ACCEPTED),
        (ATTACK, replace(HAS_EXPIRED, by="client")),
        (ATTACK, REJECTED),
    ],
)
def test_what_is_not_as_declared_is_wrong(trial: Trial, outcome: Outcome) -> None:
    assert judge(trial, outcome, filtered=True).is_wrong


def test_without_a_packet_filter_the_handshake_must_refuse() -> None:
    assert not judge(UNDECLARED, NOT_ACCEPTED, filtered=False).is_wrong
    assert judge(UNDECLARED, GRANTED, filtered=False).is_wrong


def test_samples_tell_how_long_packets_passed() -> None:
    samples = Samples(
        [
            replace(REJECTED, started=1.0, took=0.001),
            replace(NOT_ACCEPTED, started=1.1, took=0.001),
            replace(REJECTED, started=1.15, took=0.001),
            replace(NOT_ACCEPTED, started=1.2, took=0.005),
            replace(REJECTED, started=1.3, took=0.001),
            Outcome(Layer.NETWORK, reason="timeout", started=1.4, took=3.0),
        ]
    )
    assert (samples.rejected, len(samples.passed), samples.lost) == (3, 2, 1)
    assert samples.milliseconds == pytest.approx(105)
