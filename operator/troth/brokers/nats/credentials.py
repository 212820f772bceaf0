"""Credentials of NATS: the `.creds` file of a user, signed by a key that signs nobody else.

Needs the extra `nats`.
"""

from datetime import datetime

from troth.brokers.nats.jwt import Kind, issue_user, raw_public_key, read_creds
from troth.brokers.nats.rules import inbox_prefix
from troth.planning.steps.broker_credentials import CredentialRequest
from troth.trust.grants import Slot

SECRET = "user.creds"  # noqa: S105 - the key of the Secret


def issue(request: CredentialRequest, now: datetime) -> tuple[str, str]:
    """Return a new `.creds` file, and the public key that signed its user.

    Raises `ValueError` for a principal that NATS would misread, or an account that is none.
    """
    inbox_prefix(request.principal)
    raw_public_key(request.account, Kind.ACCOUNT)
    made = issue_user(request.principal, request.account, int(now.timestamp()))
    return made.creds, made.material


def material_of(principal: str, secret: str) -> str:
    """Return the public key that signed the user, which is what the account must have.

    Raises `ValueError` where it is the file of somebody else, or none.
    """
    claims = read_creds(secret).claims
    if claims.get("name") != principal:
        raise ValueError("the .creds file is of another principal")
    return str(claims["iss"])


def fingerprint_of(material: str) -> str:
    """Return the public key itself, which is no secret."""
    return material


def files(request: CredentialRequest, slot: Slot, secret: str) -> dict[str, str]:  # noqa: ARG001 - as in all
    """Return nothing: what clients read beside the `.creds` is public."""
    return {}
