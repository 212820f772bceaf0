"""Access to an account of NATS besides its signing keys, written as rules. Pure.

Imports, exports, subject mappings and an authorization callout are in the account's claims
(docs.nats.io, "Accounts" and "Subject Mapping"; nats-io/jwt, version 2). A user that the account's
own key has signed is in no claims. It is known while it is connected.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from troth.brokers.nats.jwt import Claims, Kind, decode
from troth.brokers.nats.rules import SUBJECT, Operation, everything
from troth.brokers.nats.scopes import permissions
from troth.trust.grants import Rule

_REFERENCE = re.compile(r"\$\d+|\{\{[^}]*\}\}")


def openings(claims: Claims) -> Iterator[Rule]:
    """Yield the access that an account's claims give, as rules.

    The principal of a rule is the claim that gives the access, such as `import:` and an account.
    """
    nats = claims.get("nats")
    if not isinstance(nats, dict):
        return
    for each in _objects(nats.get("exports")):
        subject = str(each.get("subject", ">"))
        # subscribers in other accounts, or requesters
        service = each.get("type") in ("service", 2)
        operation = Operation.PUBLISH if service else Operation.SUBSCRIBE
        yield Rule(f"export:{subject}", SUBJECT, "", subject, operation)
    for each in _objects(nats.get("imports")):
        service = each.get("type") in ("service", 2)
        operation = Operation.SUBSCRIBE if service else Operation.PUBLISH
        for subject in _local(each):
            yield Rule(f"import:{each.get('account')}", SUBJECT, "", subject, operation)
    mappings = nats.get("mappings")
    for source, targets in mappings.items() if isinstance(mappings, dict) else ():
        # a message to the source goes to the targets, so their subscribers receive it
        yield Rule(f"mapping:{source}", SUBJECT, "", str(source), Operation.SUBSCRIBE)
        for target in _objects(targets):
            subject = _REFERENCE.sub("*", str(target.get("subject", ">")))
            yield Rule(f"mapping:{source}", SUBJECT, "", subject, Operation.PUBLISH)
    callout = nats.get("authorization")
    if isinstance(callout, dict) and callout.get("auth_users"):
        yield from everything("authorization callout")


def user_openings(account: str, token: str) -> Iterator[Rule]:
    """Yield the permissions of a connected user that the account's own key has signed.

    The principal is the account's key, a slash, and the user's key.
    """
    try:
        claims = decode(token, Kind.ACCOUNT)
        principal = f"{account}/{claims.get('sub')}"
        yield from permissions(principal, claims.get("nats"))
    except ValueError:
        yield from everything(f"{account}/unreadable")


def _local(imported: Mapping[str, Any]) -> set[str]:
    """Return every subject in this account that an import may use, also in older versions."""
    subject, to = imported.get("subject"), imported.get("to")
    local = imported.get("local_subject")
    if local:
        return {_REFERENCE.sub("*", str(local))}
    return {str(each) for each in (subject, to, f"{to}.{subject}" if to else None) if each} or {">"}


def _objects(listed: object) -> Iterator[Mapping[str, Any]]:
    yield from (
        (each for each in listed if isinstance(each, dict)) if isinstance(listed, list) else ()
    )
