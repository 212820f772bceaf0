"""The transaction of an event: the evidence for subject, tenant and transaction ID."""

from collections.abc import Mapping
from dataclasses import replace

from troth.documents.event_bundles import TOLERANCE
from troth.edge.events.rejection import Reason, RejectedError
from troth.edge.events.rights import CARRIED, Rights
from troth.pki.tokens.checks import TransactionToken, verify_transaction_token
from troth.pki.tokens.form import TokenError

TENANT = "tenant"


def missing(rights: Rights, attributes: Mapping[str, str]) -> str | None:
    """Return the required context items that an event lacks, in one text, None if it has all."""
    absent = rights.required.difference(attributes)
    if not absent:
        return None
    return " and ".join(item for item, each in CARRIED.items() if each in absent)


def verify_transaction(rights: Rights, token: str, at: float) -> TransactionToken:
    """Return a transaction token that was valid at a time, in seconds since the epoch.

    Only the own trust domain's issuer is accepted, with a key that was not yet retired at that
    time. Raises `RejectedError`.
    """
    snapshot = rights.snapshot
    bundle = rights.bundles[snapshot.trust_domain]
    if bundle.retired_keys:
        bundle = replace(bundle, jwt_keys=bundle.keys_at(at, TOLERANCE))
    issuer = snapshot.issuers.get(snapshot.trust_domain, "")
    try:
        return verify_transaction_token(token, bundle=bundle, issuer=issuer, now=at)
    except TokenError as error:
        sentence = str(error).rstrip(".").replace("The ", "the ", 1)
        raise RejectedError(Reason.TRANSACTION_TOKEN_INVALID, sentence) from None


def check_transaction(token: TransactionToken, attributes: Mapping[str, str]) -> None:
    """Raise `RejectedError` unless a token's subject, tenant and transaction are the event's."""
    carried = (
        ("authid", "subject", token.subject),
        ("trothtenant", "tenant", token.context.get(TENANT)),
        ("trothtxn", "transaction", token.transaction),
    )
    for name, noun, value in carried:
        if attributes.get(name) != value:
            raise RejectedError(
                Reason.TRANSACTION_TOKEN_INVALID,
                f"the {noun} of the transaction token is not that of the attribute {name}",
            )
