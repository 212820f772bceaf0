"""What is tried over real sockets, and what must come of it.

A trial passes only if caller and callee both saw what they should have: a refusal for any other
reason than the expected one is a failure like any other.
"""

import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

from sandbox.demo.calling import Attempt, Outcome, call, call_plainly
from sandbox.demo.cluster import Standing
from sandbox.demo.shop import Place, Shop
from sandbox.demo.workloads import Workloads

CHECKOUT, PAYMENTS = Place("shop", "checkout"), Place("shop", "payments")
FULFILMENT, RECOMMENDATIONS = Place("shop", "fulfilment"), Place("shop", "recommendations")
LEDGER, REPORTING = Place("finance", "ledger"), Place("finance", "reporting")
STAGING = Place("staging", "checkout")


@dataclass(frozen=True, slots=True)
class Result:
    """One trial: who tried what, what came of it in words, and whether that was right.

    `unexpected` is empty if it was, and otherwise what was seen.
    """

    caller: str
    callee: str
    what: str
    outcome: str
    permitted: bool
    unexpected: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An expected refusal: by the callee, in its own words, and what the caller sees of it."""

    said: str
    seen: str
    words: str


NOT_ACCEPTED = "is not accepted on"


class Trials:
    """Everything that is tried."""

    def __init__(self, shop: Shop, standing: Standing, workloads: Workloads) -> None:
        self._shop = shop
        self._standing = standing
        self._workloads = workloads

    def permitted(self) -> Iterator[Result]:
        """Try every edge that both sides declare, and every port open to the unverified."""
        for edge, scopes in self._shop.agreed().items():
            trust = self._shop.identities[edge.callee]["spec"]["authentication"].get("gatewayOnly")
            if trust:
                what = f"gatewayOnly until {trust['expiresAt'][:10]}"
                yield self._plain(edge.callee, edge.port, str(edge.caller), what)
            else:
                yield self._mutual(edge.caller, edge.callee, edge.port, scopes)
        for callee, port in self._shop.unverified():
            yield self._plain(callee, port, "the public", "declared unverified")

    def refused(self, expired: Path) -> Iterator[Result]:
        """Try what must fail. `expired` holds a certificate of checkout's whose time is over."""
        checkout = self._standing.spiffe_id(CHECKOUT)
        yield self._intrusion(
            FULFILMENT,
            PAYMENTS,
            "undeclared, a forged header",
            Refusal(NOT_ACCEPTED, NOT_ACCEPTED, "not one of its peers"),
            headers={"X-Forwarded-Client-Cert": f"URI={checkout}"},
        )
        yield self._intrusion(
            REPORTING,
            LEDGER,
            "declared by the caller alone",
            Refusal(NOT_ACCEPTED, NOT_ACCEPTED, "has not agreed to it"),
        )
        yield self._intrusion(
            STAGING,
            PAYMENTS,
            "another trust domain",
            Refusal("unable to get local issuer certificate", "unknown ca", "trusts no such root"),
        )
        yield self._intrusion(
            CHECKOUT,
            PAYMENTS,
            "an old, stolen certificate",
            Refusal("certificate has expired", "certificate expired", "certificate has expired"),
            certificate=expired,
        )
        yield self._intrusion(
            None,
            PAYMENTS,
            "TLS without a certificate",
            Refusal(
                "peer did not return a certificate",
                "certificate required",
                "asks for a certificate",
            ),
        )
        yield self._intrusion(
            CHECKOUT,
            PAYMENTS,
            "TLS 1.2",
            Refusal("unsupported protocol", "protocol version", "TLS 1.3 only"),
            newest=ssl.TLSVersion.TLSv1_2,
        )
        yield self._plain_intrusion(PAYMENTS)
        yield self._impostor()

    def _mutual(self, caller: Place, callee: Place, port: str, scopes: list[str]) -> Result:
        mine, theirs = (self._standing.spiffe_id(place) for place in (caller, callee))
        outcome = call(
            Attempt(
                self._workloads.port(callee, port), self._workloads.files(caller), callee=theirs
            )
        )
        wanted = {"peer": mine, "scopes": sorted(scopes), "tls": "TLSv1.3"}
        right = (outcome.status, outcome.tls, outcome.body) == (HTTPStatus.OK, "TLSv1.3", wanted)
        return Result(
            str(caller),
            str(callee),
            "declared by both",
            f"mTLS 1.3, {', '.join(scopes)}",
            permitted=True,
            unexpected="" if right else _seen(outcome),
        )

    def _plain(self, callee: Place, port: str, caller: str, what: str) -> Result:
        outcome = call_plainly(self._workloads.port(callee, port))
        right = (outcome.status, outcome.body) == (HTTPStatus.OK, {"peer": None, "scopes": []})
        return Result(
            caller,
            str(callee),
            what,
            "plain HTTP, and no scopes",
            permitted=True,
            unexpected="" if right else _seen(outcome),
        )

    def _intrusion(
        self,
        caller: Place | None,
        callee: Place,
        what: str,
        refusal: Refusal,
        *,
        certificate: Path | None = None,
        newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        headers: dict[str, str] | None = None,
    ) -> Result:
        """Call as one who keeps to no rules: it verifies nobody, and ignores whom it may call."""
        outcome = call(
            Attempt(
                self._workloads.port(callee, "https"),
                self._workloads.files(caller) if caller else None,
                certificate=certificate,
                anonymous=caller is None,
                newest=newest,
                headers=headers or {},
            )
        )
        noted = self._workloads.journal(callee, outcome.caller)
        return _refused(
            str(caller or "a stranger"), callee, what, refusal, outcome=outcome, noted=noted
        )

    def _plain_intrusion(self, callee: Place) -> Result:
        outcome = call_plainly(self._workloads.port(callee, "https"))
        noted = self._workloads.journal(callee, outcome.caller)
        refusal = Refusal("http request", "hung up without an answer", "that is not TLS")
        return _refused("a stranger", callee, "plain HTTP", refusal, outcome=outcome, noted=noted)

    def _impostor(self) -> Result:
        outcome = call(
            Attempt(
                self._workloads.port(RECOMMENDATIONS, "https"),
                self._workloads.files(CHECKOUT),
                callee=self._standing.spiffe_id(PAYMENTS),
            )
        )
        answered = f"{self._standing.spiffe_id(RECOMMENDATIONS)} answered instead of"
        right = outcome.refused_by_caller.startswith(answered)
        return Result(
            str(CHECKOUT),
            str(PAYMENTS),
            "an impostor answers",
            "checkout: it is recommendations",
            permitted=False,
            unexpected="" if right else _seen(outcome),
        )


def _refused(
    caller: str,
    callee: Place,
    what: str,
    refusal: Refusal,
    *,
    outcome: Outcome,
    noted: dict[str, Any],
) -> Result:
    said = str(noted.get("refused", ""))
    seen = outcome.failure
    if outcome.status == HTTPStatus.FORBIDDEN:
        seen = str(outcome.body.get("refused", ""))
    right = refusal.said in said and refusal.seen in seen
    return Result(
        caller,
        str(callee),
        what,
        f"{callee.name}: {refusal.words}",
        permitted=False,
        unexpected="" if right else f"{callee} noted {said or 'no refusal'!r}; {_seen(outcome)}",
    )


def _seen(outcome: Outcome) -> str:
    if outcome.status is not None:
        return f"the caller got {outcome.status} {outcome.body} over {outcome.tls or 'no TLS'}"
    return f"the caller saw {outcome.refused_by_caller or outcome.failure!r}"
