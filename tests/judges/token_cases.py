"""Cases of the table, and tokens made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.judges.forging import Part, Sign, compact, es256
from tests.judges.token_world import Kind, kid, signing_key

ABSENT = object()
OWN = es256(signing_key())
THIEF = es256(signing_key("thief"))
PARTNERS = es256(signing_key("partner"))
HEADERS = {
    Kind.ACCESS: {"alg": "ES256", "kid": kid(), "typ": "JWT"},
    Kind.TRANSACTION: {"alg": "ES256", "kid": kid(), "typ": "txntoken+jwt"},
}


@dataclass(frozen=True)
class Case:
    """A token, Troth's expected reason ("" if it is valid), and the presented certificate."""

    name: str
    token: str
    reason: str = ""
    kind: Kind = Kind.ACCESS
    shown: bytes | None = None

    @property
    def about_holder(self) -> bool:
        """Whether the case is about the token's holder, and not about the token alone."""
        return bool(self.shown) or self.reason == "token-holder"


def by_hand(claims: Part, *, sign: Sign = OWN, kind: Kind = Kind.ACCESS, **header: Any) -> str:
    return compact(changed(HEADERS[kind], header), claims, sign)


def changed(members: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in ({**members, **changes}).items() if v is not ABSENT}
