"""A report has the verdict of every check, and the strict verification is its first failure."""

import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from inspect import CO_GENERATOR
from types import CodeType, FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.pki.forged_tokens import (
    BUNDLES,
    CLAIMS,
    DOMAIN,
    HEADER,
    ISSUER,
    ISSUERS,
    MOMENT,
    PAYMENTS,
    TRANSACTION_CLAIMS,
    TRANSACTION_HEADER,
    UNKNOWN_KEY,
    access_token,
    forged,
    transaction_token,
)
from tests.pki.tokens.test_attacks import ATTACKS, TRANSACTION_ATTACKS
from troth.pki.tokens.checks import (
    CHECKS,
    AccessToken,
    TokenError,
    TransactionToken,
    holder_problem,
    verify_access_token,
    verify_transaction_token,
)
from troth.pki.tokens.form import ACCESS, TRANSACTION, Checks, Report, kind_of, report


def access_report(token: str, **changed: Any) -> Report[AccessToken]:
    expected: dict[str, Any] = {
        "bundles": BUNDLES,
        "issuers": ISSUERS,
        "audience": PAYMENTS,
        "now": MOMENT,
    }
    return report(partial(verify_access_token, token, **expected | changed), ACCESS)


def transaction_report(token: str, issuer: str = ISSUER) -> Report[TransactionToken]:
    bundle = BUNDLES[DOMAIN]
    verification = partial(
        verify_transaction_token, token, bundle=bundle, issuer=issuer, now=MOMENT
    )
    return report(verification, TRANSACTION)


def failed(made: Report[Any]) -> list[str]:
    return [verdict.check for verdict in made.verdicts if verdict.error is not None]


def test_valid_token_passes_every_check_in_order() -> None:
    for made in (access_report(access_token()), transaction_report(transaction_token())):
        assert tuple(verdict.check for verdict in made.verdicts) == CHECKS
        assert failed(made) == []
    assert access_report(access_token()).verified == verify_access_token(
        access_token(), bundles=BUNDLES, issuers=ISSUERS, audience=PAYMENTS, now=MOMENT
    )


@pytest.mark.parametrize(("token", "check"), ATTACKS.values(), ids=ATTACKS.keys())
def test_first_failure_of_a_report_is_the_strict_rejection(token: str, check: str) -> None:
    made = access_report(token)
    assert failed(made)[0] == check
    assert made.verified is None


@pytest.mark.parametrize(
    ("token", "check"), TRANSACTION_ATTACKS.values(), ids=TRANSACTION_ATTACKS.keys()
)
def test_first_failure_of_a_transaction_report_is_the_strict_rejection(
    token: str, check: str
) -> None:
    made = transaction_report(token)
    assert failed(made)[0] == check
    assert made.verified is None


def test_independent_failures_are_all_reported() -> None:
    token = forged(
        claims=CLAIMS | {"iss": "https://x.example", "aud": "x", "iat": MOMENT - 5000, "exp": 1}
    )
    made = access_report(token)
    assert failed(made) == ["issuer", "audience", "lifetime", "expired"]
    assert made.verdicts[-1].check == "malformed"
    assert made.verdicts[-1].error is None


@pytest.mark.parametrize(
    ("token", "last"),
    [
        (access_token()[:-4] + "AAAA", "signature"),
        (forged(key=UNKNOWN_KEY), "signature"),
        (forged(HEADER | {"kid": "other"}), "key"),
        (forged(HEADER | {"alg": "ES384"}), "algorithm"),
    ],
)
def test_claims_of_an_unverified_token_get_no_verdict(token: str, last: str) -> None:
    made = access_report(token)
    assert made.verdicts[-1].check == last
    assert failed(made) == [last]


CHANGES = st.dictionaries(
    st.sampled_from([*CLAIMS, *TRANSACTION_CLAIMS, "cnf", "rctx"]),
    st.none() | st.integers() | st.text() | st.sampled_from([ISSUER, PAYMENTS, DOMAIN, MOMENT]),
    max_size=3,
)


@given(CHANGES)
def test_strict_verification_agrees_with_the_report(changed: dict[str, Any]) -> None:
    bundle = BUNDLES[DOMAIN]
    access = forged(claims=CLAIMS | changed)
    transaction = forged(TRANSACTION_HEADER, TRANSACTION_CLAIMS | changed)
    for made, verify in (
        (
            access_report(access),
            lambda: verify_access_token(
                access, bundles=BUNDLES, issuers=ISSUERS, audience=PAYMENTS, now=MOMENT
            ),
        ),
        (
            transaction_report(transaction),
            lambda: verify_transaction_token(transaction, bundle=bundle, issuer=ISSUER, now=MOMENT),
        ),
    ):
        errors = [verdict.error for verdict in made.verdicts if verdict.error is not None]
        if not errors:
            assert made.verified == verify()
            continue
        assert made.verified is None
        with pytest.raises(TokenError) as rejected:
            verify()
        assert rejected.value.reason == errors[0].reason


def test_unknown_issuer_never_matches() -> None:
    empty = forged(claims=CLAIMS | {"iss": ""})
    for issuers in ({}, {DOMAIN: ""}):
        assert failed(access_report(empty, issuers=issuers)) == ["issuer"]
    token = forged(TRANSACTION_HEADER, TRANSACTION_CLAIMS | {"iss": ""})
    assert failed(transaction_report(token, issuer="")) == ["issuer"]


def test_clock_that_is_no_number_rejects() -> None:
    assert failed(access_report(access_token(), now=float("nan"))) == ["not-yet-valid", "expired"]


def test_strict_verification_runs_nothing_after_the_first_failure() -> None:
    for check in (Checks(ACCESS).check, Checks(ACCESS).require):
        with pytest.raises(TokenError, match="is wrong"):
            check((("issuer", "is wrong"), ("audience", "is wrong too")), False, False)


def test_strict_verification_creates_nothing_for_a_passed_check() -> None:
    reported = {Checks.check.__code__, Checks.require.__code__}
    for token, verify in (
        (
            access_token(),
            partial(
                verify_access_token, bundles=BUNDLES, issuers=ISSUERS, audience=PAYMENTS, now=MOMENT
            ),
        ),
        (
            transaction_token(),
            partial(verify_transaction_token, bundle=BUNDLES[DOMAIN], issuer=ISSUER, now=MOMENT),
        ),
    ):
        verify(token)  # fills the caches
        codes = called(partial(verify, token))
        calls = Counter(code in reported for code in codes)
        assert calls[True] < len(CHECKS)
        resumed = [
            code.co_name
            for code in codes
            if code.co_flags & CO_GENERATOR and code.co_name != "<genexpr>"
        ]
        assert not resumed
        assert not {"error", "verdict"} & {code.co_name for code in codes}


def called(verification: Callable[[], object]) -> list[CodeType]:
    """Return the code of each Python function that starts or resumes."""
    codes: list[CodeType] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            codes.append(frame.f_code)

    sys.setprofile(note)
    try:
        verification()
    finally:
        sys.setprofile(None)
    return codes


def test_kind_is_that_of_the_header() -> None:
    assert kind_of(access_token()) is ACCESS
    assert kind_of(transaction_token()) is TRANSACTION
    assert kind_of(forged(TRANSACTION_HEADER | {"alg": "none"})) is TRANSACTION
    for text in ("", "a.b.c", "é.é.é", transaction_token() + "x" * 9000):
        assert kind_of(text) is ACCESS


HOLDER, THUMBPRINT = "spiffe://prod.example/ns/shop/sa/checkout", "a" * 43


@pytest.mark.parametrize(
    ("presenter", "thumbprint", "bound", "must_be_bound", "problem"),
    [
        (HOLDER, THUMBPRINT, THUMBPRINT, True, None),
        (HOLDER, THUMBPRINT, THUMBPRINT, False, None),
        (HOLDER, "b" * 43, THUMBPRINT, False, "token-holder"),
        (HOLDER + "2", THUMBPRINT, THUMBPRINT, False, "token-holder"),
        (HOLDER + "2", THUMBPRINT, None, False, "token-holder"),
        (None, None, THUMBPRINT, False, "token-holder"),
        (HOLDER, THUMBPRINT, None, True, "token-unbound"),
        (HOLDER, THUMBPRINT, None, False, None),
        (None, None, None, True, "token-unbound"),
        (None, None, None, False, None),
    ],
)
def test_only_the_holder_may_use_a_bound_token(
    presenter: str | None,
    thumbprint: str | None,
    bound: str | None,
    must_be_bound: bool,
    problem: str | None,
) -> None:
    token = AccessToken("", HOLDER, "", frozenset(), 0, 0, "", bound)
    assert holder_problem(token, presenter, thumbprint, must_be_bound=must_be_bound) == problem
