"""Whether an account's JWT is one that Troth may change and sign. Pure.

Troth does not trust the server here, because a false server can present any operator and any
account. The MessageBroker has the operator's public key. The operator signs its own JWT, which
names its signing keys. One of these keys signs the account.
"""

from collections.abc import Iterable, Mapping

from troth.brokers.nats.jwt import Claims, Kind, decode, issued_at
from troth.brokers.nats.scopes import signing_keys

_VOLATILE = frozenset({"iss", "iat", "jti"})


def operator_keys(tokens: Iterable[object], operator: str) -> frozenset[str]:
    """Return the keys with which an operator signs accounts, by its own JWTs among `tokens`.

    There are none if no JWT is its own.
    """
    keys: set[str] = set()
    for token in tokens:
        try:
            claims = decode(token if isinstance(token, str) else "", Kind.OPERATOR)
        except ValueError:
            continue
        nats = claims.get("nats")
        own = (claims.get("iss"), claims.get("sub")) == (operator, operator)
        if not own or not isinstance(nats, dict) or nats.get("type") != "operator":
            continue
        listed = nats.get("signing_keys")
        keys.update(each for each in listed or () if isinstance(each, str))
        if not nats.get("strict_signing_key_usage"):
            keys.add(operator)
    return frozenset(keys)


def unfit(claims: Claims, account: str, now: float) -> str:
    """Return why claims are not those of an account, valid at a Unix time; "" if they are."""
    nats, end = claims.get("nats"), claims.get("exp")
    if claims.get("sub") != account:
        return "the NATS server returned another account"
    if not isinstance(nats, dict) or nats.get("type") != "account":
        return f"the NATS server returned a JWT of {account} that is not an account's"
    if isinstance(end, int) and 0 < end <= now:
        return f"the JWT of account {account} has expired; push one that is valid"
    return ""


def is_rolled_back(claims: Claims, last: Claims) -> bool:
    """Return whether claims are older than the last ones, and have anything that those lack.

    An old copy that lacks what Troth has added since is no danger, because Troth adds it again.
    """
    if issued_at(claims) >= issued_at(last):
        return False
    if _rest(claims) != _rest(last):
        return True
    kept = signing_keys(last)
    return any(each not in kept for each in signing_keys(claims))


def _rest(claims: Claims) -> Mapping[str, object]:
    """Return claims without the signing keys and what every signature changes."""
    nats = claims.get("nats")
    rest = nats if isinstance(nats, dict) else {}
    return {
        **{name: value for name, value in claims.items() if name not in _VOLATILE},
        "nats": {name: value for name, value in rest.items() if name != "signing_keys"},
    }
