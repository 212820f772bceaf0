"""Warnings about a token: why Troth's verifier would reject it, and what may be unintended.

This module decides nothing; `pki.token_checks` does.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

from troth.cli.quoting import quoted
from troth.cli.status.track import length
from troth.cli.token.decode import Anatomy, Sort
from troth.pki.errors import SPIFFEIDError
from troth.pki.spiffe import SPIFFEID
from troth.pki.tokens.form import MAX_TOKEN
from troth.pki.tokens.signing import ALGORITHM, MAX_LIFETIME

SIGNATURE_BYTES = 64
"""Size of an ES256 signature: two numbers of 32 bytes (RFC 7518, section 3.4)."""

TIMES = ("exp", "iat", "nbf")
"""Claims that are times, in seconds since 1970."""

_HEADER = frozenset({"alg", "kid", "typ"})
_KEYS_OF_ITS_OWN = frozenset({"jwk", "jku", "x5u", "x5c"})
_ACCESS = frozenset({"iss", "sub", "aud", "exp", "iat", "nbf", "jti", "scope", "client_id"})
_TRANSACTION = frozenset({"iss", "aud", "iat", "exp", "txn", "sub", "scope", "req_wl", "tctx"})
_MAY_BE_THERE = {Sort.ACCESS: frozenset({"cnf"}), Sort.TRANSACTION: frozenset({"rctx"})}
_MUST_BE_THERE = {Sort.ACCESS: _ACCESS, Sort.TRANSACTION: _TRANSACTION}


def unusual(anatomy: Anatomy, now: datetime) -> tuple[str, ...]:
    """Return what is unusual about a token, most severe first."""
    checks: tuple[Callable[[], Iterable[str]], ...] = (
        lambda: _algorithm(anatomy),
        lambda: _header(anatomy.header),
        lambda: anatomy.oddities,
        lambda: _size(anatomy),
        lambda: _times(anatomy.claims, now),
        lambda: _members(anatomy),
        lambda: _parties(anatomy),
    )
    return tuple(sentence for check in checks for sentence in check())


def moment(value: object) -> datetime | None:
    """Return a claim as a time, None if it is not a valid one."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _algorithm(anatomy: Anatomy) -> Iterator[str]:
    algorithm = anatomy.header.get("alg")
    if isinstance(algorithm, str) and algorithm.lower() == "none":
        yield "its alg is none: it is not signed, and no verifier may accept it"
    elif algorithm != ALGORITHM:
        yield f"it is not signed with {ALGORITHM}, the only accepted algorithm"
    if anatomy.signature_bytes == 0:
        yield "it has no signature"
    elif anatomy.signature_bytes not in (SIGNATURE_BYTES, None):
        yield (
            f"its signature has {anatomy.signature_bytes} bytes; one of {ALGORITHM} has "
            f"{SIGNATURE_BYTES}"
        )


def _header(header: dict[str, Any]) -> Iterator[str]:
    for name in sorted(header.keys() & _KEYS_OF_ITS_OWN):
        yield f"its header brings its own key in {name}; no verifier may use that"
    for name in sorted(header.keys() - _HEADER - _KEYS_OF_ITS_OWN):
        yield f"its header has {quoted(name)}, which is rejected: only alg, kid, typ are accepted"
    for name in sorted(_HEADER - header.keys()):
        yield f"its header has no {name}"


def _size(anatomy: Anatomy) -> Iterator[str]:
    if anatomy.size > MAX_TOKEN:
        yield f"it has {anatomy.size} bytes; more than {MAX_TOKEN} are rejected"


def _times(claims: dict[str, Any], now: datetime) -> Iterator[str]:
    for name in TIMES:
        value = claims.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            yield f"{name} is not a whole number of seconds"
    expires, issued, begins = (moment(claims.get(name)) for name in TIMES)
    if expires is not None and expires <= now:
        yield f"it expired {length(now - expires)} ago"
    if begins is not None and begins > now:
        yield f"it is not yet valid: it becomes valid in {length(begins - now)}"
    if issued is not None and issued > now:
        yield f"its iat is in the future, in {length(issued - now)}"
    if expires is not None and issued is not None:
        if expires <= issued:
            yield "it expires before it was issued"
        elif expires - issued > MAX_LIFETIME:
            yield (
                f"its lifetime is {length(expires - issued)}; more than {length(MAX_LIFETIME)} "
                "is rejected"
            )


def _members(anatomy: Anatomy) -> Iterator[str]:
    expected = _MUST_BE_THERE.get(anatomy.sort)
    if expected is None:
        yield "it is neither an access token nor a transaction token of Troth"
        return
    missing = sorted(expected - anatomy.claims.keys())
    if missing:
        yield f"it has no {', '.join(missing)}"
    for name in sorted(anatomy.claims.keys() - expected - _MAY_BE_THERE[anatomy.sort]):
        yield f"it has a claim {quoted(name)}, which Troth's issuer never writes"


def _parties(anatomy: Anatomy) -> Iterator[str]:
    claims, access = anatomy.claims, anatomy.sort is Sort.ACCESS
    audience = claims.get("aud")
    if isinstance(audience, list) and len(audience) != 1:
        yield f"it has {len(audience)} audiences; exactly one is accepted"
    for name in ("sub", "client_id") if access else ("req_wl",):
        if name in claims and not _workloads(claims[name]):
            yield f"{name} is not the SPIFFE ID of a workload"
    if not access:
        return
    if "client_id" in claims and claims["client_id"] != claims.get("sub"):
        yield "client_id differs from sub"
    if not isinstance(claims.get("cnf"), dict) or "x5t#S256" not in claims["cnf"]:
        yield (
            "it is not bound to a certificate (no cnf): anyone who has it can use it, if the "
            "callee accepts such tokens"
        )


def _workloads(value: object) -> bool:
    """Return whether a claim is a workload's SPIFFE ID, or a list of them as in `req_wl`."""
    try:
        return isinstance(value, str) and all(
            SPIFFEID.parse(each).path for each in value.split(",")
        )
    except SPIFFEIDError:
        return False
