"""Credentials of NATS: `.creds` files of users, each signed by a signing key of its own.

Needs the extra `nats`.
"""

from datetime import datetime

from troth.brokers.nats.jwt import Kind, issue_user, raw_public_key, read_creds
from troth.brokers.nats.rules import inbox_prefix
from troth.brokers.protocol import CredentialRequest, NewCredential


def issue(request: CredentialRequest, now: datetime) -> NewCredential:
    """Return a new `.creds` file, and the public key that signed its user.

    Raises `ValueError` for a principal that NATS would misread, and for an invalid account key.
    """
    inbox_prefix(request.principal)
    raw_public_key(request.account, Kind.ACCOUNT)
    made = issue_user(request.principal, request.account, int(now.timestamp()))
    return NewCredential(made.creds, made.material)


def material_of(principal: str, secret: str) -> str:
    """Return the public key that signed the user, which the account must contain.

    Raises `ValueError` for an invalid `.creds` file, and for one of another principal.
    """
    claims = read_creds(secret).claims
    if claims.get("name") != principal:
        raise ValueError("the .creds file is for another principal")
    return str(claims["iss"])
