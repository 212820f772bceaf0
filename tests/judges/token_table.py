"""The tokens of the table for every judge: valid ones by Troth, and attacks by hand."""

from __future__ import annotations

from collections.abc import Iterator

from tests.judges.attacks_on_claims import contents, holders, times, transactions
from tests.judges.attacks_on_forms import forms
from tests.judges.attacks_on_signatures import headers, keys, signatures
from tests.judges.forging import es256_twin
from tests.judges.token_cases import Case, by_hand
from tests.judges.token_world import (
    ISSUERS,
    PARTNER,
    PARTNERS_CLIENT,
    PAYMENTS,
    Kind,
    access_claims,
    access_token,
    certificate,
    signing_key,
    transaction_claims,
    transaction_token,
)


def good(now: int) -> Iterator[Case]:
    bound = access_token(bound_to=certificate())
    yield Case("bound, with its certificate", bound, shown=certificate())
    yield Case("unbound", access_token())
    yield Case("without a scope", access_token(scopes=()))
    yield Case("signed with the next key", access_token("next"))
    yield Case(
        "of a federated trust domain",
        access_token("partner", issuer=ISSUERS[PARTNER], subject=PARTNERS_CLIENT),
    )
    yield Case("of 15 minutes", access_token(lifetime=900))
    yield Case("expired 5 s ago, within the leeway", access_token(ago=305))
    yield Case("issued 45 s ahead, within the leeway", access_token(ago=-45))
    yield Case("audience as a string", by_hand(access_claims(now) | {"aud": PAYMENTS}))
    yield Case(
        "the other of ECDSA's two signatures",
        by_hand(access_claims(now), sign=es256_twin(signing_key())),
    )
    for name, token in {
        "txn, with all it may have": transaction_token(request={"req_ip": "192.0.2.7"}),
        "txn, without context": transaction_token(context={}, scopes=()),
        "txn, signed with the next key": transaction_token("next"),
        "txn, expired 5 s ago": transaction_token(ago=305),
    }.items():
        yield Case(name, token, kind=Kind.TRANSACTION)


def attacks(now: int) -> list[Case]:
    """Return tokens that Troth rejects, with reasons; `now` is in seconds since the epoch."""
    access, transaction = access_claims(now), transaction_claims(now)
    return [
        *signatures(access),
        *headers(access),
        *keys(access),
        *forms(access),
        *times(access, now),
        *contents(access),
        *holders(access),
        *transactions(transaction, now),
    ]
