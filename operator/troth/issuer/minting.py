"""Signs granted tokens and builds the answers that carry them."""

import secrets
import uuid
from dataclasses import dataclass, field
from datetime import datetime

from pydantic_core import to_json

from troth.issuer.configuration import IssuerConfiguration
from troth.issuer.errors import Code, OAuthError, invalid_request
from troth.issuer.grants import AccessGrant, TransactionGrant
from troth.issuer.token_request import TRANSACTION_TYPE
from troth.pki.tokens.form import MAX_TOKEN


@dataclass(frozen=True, slots=True)
class Issued:
    """A token, its ID (`jti` or `txn`), and the JSON answer with it."""

    token_id: str
    scope: str
    answer: bytes = field(repr=False)


def access_token(
    grant: AccessGrant, configuration: IssuerConfiguration, now: datetime, issued_type: str
) -> Issued:
    """Return an access token in an answer by RFC 6749, section 5.1 and RFC 8693, section 2.2.1.

    Raises `OAuthError` if the scopes exceed the size limit of a token, because every verifier would
    reject it.
    """
    token_id, scope = secrets.token_urlsafe(16), " ".join(sorted(grant.scopes))
    token = configuration.signer.access_token(
        issuer=configuration.grants.issuer,
        subject=grant.subject,
        audience=grant.audience,
        scopes=grant.scopes,
        lifetime=grant.lifetime,
        now=now,
        certificate=grant.certificate,
        token_id=token_id,
    )
    if len(token) > MAX_TOKEN:
        raise OAuthError(
            Code.INVALID_SCOPE,
            "the scopes for this audience do not fit into one token; request some of them, or "
            "declare fewer",
        )
    seconds = int(grant.lifetime.total_seconds())
    return Issued(token_id, scope, _answer(token, "Bearer", issued_type, seconds, scope))


def transaction_token(
    grant: TransactionGrant, configuration: IssuerConfiguration, now: datetime
) -> Issued:
    """Return a transaction token in an answer by the draft's section on responses.

    Raises `invalid_request` if the context exceeds the size limit of a token.
    """
    transaction, scope = grant.transaction or str(uuid.uuid4()), " ".join(sorted(grant.scopes))
    token = configuration.signer.transaction_token(
        issuer=configuration.grants.issuer,
        trust_domain=configuration.grants.trust_domain,
        transaction=transaction,
        subject=grant.subject,
        scopes=grant.scopes,
        requester=grant.requester,
        context=grant.context,
        request=grant.request,
        expires=grant.expires,
        now=now,
    )
    if len(token) > MAX_TOKEN:
        raise invalid_request("the context does not fit into a token; pass names, not contents")
    seconds = int((grant.expires - now).total_seconds())
    return Issued(transaction, scope, _answer(token, "N_A", TRANSACTION_TYPE, seconds, scope))


def _answer(token: str, kind: str, issued_type: str, seconds: int, scope: str) -> bytes:
    return to_json(
        {
            "access_token": token,
            "token_type": kind,
            "issued_token_type": issued_type,
            "expires_in": seconds,
            "scope": scope,
        }
    )
