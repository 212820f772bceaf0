"""The transaction of a request, propagated to the requests that it causes.

A transaction token (draft-ietf-oauth-transaction-tokens) is propagated unmodified. It is the token
of the request being served, which the middleware has verified, or one that a program sets with
`using`. It never leaves its trust domain, and it does not authenticate the sender.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from troth.edge.inbound.caller import CALLER
from troth.edge.outbound.exchange import (
    Ask,
    Issued,
    is_token,
    transaction_narrowing,
    transaction_start,
)

TXN_TOKEN = "Txn-Token"  # noqa: S105 - a header's name

_TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction's token as issued, and its scopes."""

    token: str = field(repr=False)
    scopes: frozenset[str] = frozenset()


_USED: ContextVar[Transaction | None] = ContextVar("troth_transaction", default=None)


@contextmanager
def using(transaction: Transaction | str) -> Iterator[None]:
    """Send this transaction with every call in the context, instead of the served request's."""
    given = transaction if isinstance(transaction, Transaction) else Transaction(transaction)
    reset = _USED.set(Transaction(checked(given.token), given.scopes))
    try:
        yield
    finally:
        _USED.reset(reset)


def current_token() -> str | None:
    """Return the token of the current transaction, None if there is none."""
    used = _USED.get()
    if used is not None:
        return used.token
    caller = CALLER.get()
    return caller.transaction.token if caller is not None and caller.transaction else None


def checked(token: str) -> str:
    """Return a text that has the form of a token; raises `ValueError`, which does not quote it."""
    if not is_token(token):
        raise ValueError("a transaction token is a signed token in compact form")
    return token


def start(
    issuer: str,
    trust_domain: str,
    *,
    subject: str,
    scopes: Iterable[str],
    tenant: str | None,
    context: Mapping[str, str] | None,
    request: Mapping[str, str] | None,
) -> Ask:
    """Return a request for a new transaction; values that are None are omitted."""
    named = {_TENANT: tenant} if tenant is not None else {}
    return transaction_start(
        issuer,
        trust_domain,
        subject=subject,
        scopes=scopes,
        context={**(context or {}), **named},
        request=request or {},
    )


def narrow(
    issuer: str, trust_domain: str, scopes: Iterable[str], transaction: Transaction | str | None
) -> Ask:
    """Return a request for the given transaction, or the current one, with fewer scopes."""
    token = transaction.token if isinstance(transaction, Transaction) else transaction
    token = token if token is not None else current_token()
    if token is None:
        raise LookupError("no transaction is active, and none was given")
    return transaction_narrowing(issuer, trust_domain, checked(token), scopes)


def begun(issued: Issued) -> Transaction:
    """Return the transaction in an answer of the issuer."""
    return Transaction(issued.token, issued.scopes)
