"""The calls that the demo tries between services, and the expected outcome at each layer.

`pods` carries them out where packets are filtered, `processes` where they are not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sandbox.demo.calls.forgery import expired_certificate
from sandbox.demo.cast import (
    API_SERVER,
    CHECKOUT,
    COLLECTOR,
    FULFILMENT,
    LEDGER,
    OUTSIDE_PORT,
    PAYMENTS,
    PROVIDER,
    PUBLIC,
    RECOMMENDATIONS,
    REPORTING,
    STAGING,
    STRANGER,
    VISITORS,
    VISITORS_PORT,
    WAREHOUSE,
)
from sandbox.demo.cluster import Statuses
from sandbox.demo.shop import Place, Shop
from sandbox.node.workload import Files, Mode


@dataclass(frozen=True, slots=True)
class Rejection:
    """A handshake that fails: the side that ends it, its reasons in an outcome, and a sentence."""

    by: str
    reasons: tuple[str, ...]
    words: str


# A service that cannot check a SPIFFE ID within the handshake says "not accepted" right after it.
NOT_ACCEPTED = Rejection("server", ("bad certificate", "not accepted"), "caller not accepted")
UNKNOWN_ROOT = Rejection("server", ("unknown certificate authority",), "unknown root")
EXPIRED = Rejection("server", ("expired certificate",), "certificate expired")
NO_CERTIFICATE = Rejection("server", ("certificate required",), "certificate required")
OLD_TLS = Rejection("server", ("protocol version not supported",), "TLS 1.3 required")
NO_TLS = Rejection("server", ("no TLS",), "TLS required")
WRONG_IDENTITY = Rejection("client", ("wrong identity",), "callee is not payments")
REJECTIONS = (
    *(NOT_ACCEPTED, UNKNOWN_ROOT, EXPIRED, NO_CERTIFICATE),
    *(OLD_TLS, NO_TLS, WRONG_IDENTITY),
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call and its expected outcome.

    `about` is what was declared, or what is wrong with the call. `expect` is the SPIFFE ID of the
    callee, and `scopes` are what it grants the caller. With `shows`, the caller presents these
    files instead of its own; an `impostor` answers in the callee's place. The packet filter must
    pass it if `passes`; then the handshake must end in `rejection`, if there is one.
    """

    caller: Place
    callee: Place
    port: str
    about: str
    mode: Mode = Mode.MTLS
    expect: str = ""
    scope: str = ""
    scopes: tuple[str, ...] = ()
    shows: Files | None = None
    impostor: Place | None = None
    passes: bool = True
    rejection: Rejection | None = None

    @property
    def is_honest(self) -> bool:
        """Whether the caller reads its peers from identity.json, and verifies the callee."""
        return self.rejection is None or self.rejection.by == "client"

    @property
    def needs_filter(self) -> bool:
        """Whether the packet filter alone decides the outcome."""
        return self.mode is Mode.CONNECT or not (self.passes or self.rejection)


class Calls:
    """All calls; `secrets` are the files of each identity that has a certificate."""

    def __init__(self, shop: Shop, statuses: Statuses, secrets: Mapping[Place, Files]) -> None:
        self._shop = shop
        self._statuses = statuses
        self._secrets = secrets

    def declared(self) -> Iterator[Call]:
        """Yield each declared edge, with its scopes and with one that is not granted."""
        for edge, scopes in self._shop.agreed().items():
            if self._shop.is_mutual(edge.callee):
                expect = self._statuses.spiffe_id(edge.callee)
                for scope in (*scopes, _not_granted(scopes)):
                    yield Call(
                        *edge,
                        "by both sides",
                        expect=expect,
                        scope=scope,
                        scopes=tuple(sorted(scopes)),
                    )
            else:
                yield Call(*edge, f"gatewayOnly {self._days_left(edge.callee)} d", Mode.PLAIN)
        for callee, port in self._shop.unverified():
            yield Call(PUBLIC, callee, port, "unverified", Mode.PLAIN)
        for callee, port in self._shop.collected():
            yield Call(COLLECTOR, callee, port, "metrics exception", Mode.PLAIN)
        for caller, host in self._shop.external():
            yield Call(caller, Place("", host), OUTSIDE_PORT, "external", Mode.CONNECT)
        for caller in self._shop.operators():
            yield Call(caller, API_SERVER, OUTSIDE_PORT, "kubernetesAPI", Mode.CONNECT)

    def undeclared(self) -> Iterator[Call]:
        """Yield undeclared calls: one pair of each kind."""
        yield self._intrusion(FULFILMENT, PAYMENTS, "by neither side", NOT_ACCEPTED)
        yield self._intrusion(REPORTING, LEDGER, "by caller only", NOT_ACCEPTED)
        yield self._intrusion(STAGING, PAYMENTS, "another domain", UNKNOWN_ROOT)
        yield self.stranger(PAYMENTS, "no identity")
        yield Call(CHECKOUT, WAREHOUSE, "http", "not its gateway", Mode.PLAIN, passes=False)
        yield self.stranger(RECOMMENDATIONS, "Observe mode")

    def attacks(self, authority: Mapping[str, bytes]) -> Iterator[Call]:
        """Yield calls that the handshake must reject; `authority` is the CA's Secret."""
        expired = expired_certificate(self._statuses.spiffe_id(CHECKOUT), authority)
        for about, shown, rejection in (
            ("its own, expired", expired, EXPIRED),
            ("fulfilment's", self._stolen(FULFILMENT), NOT_ACCEPTED),
            ("staging/checkout's", self._stolen(STAGING), UNKNOWN_ROOT),
        ):
            yield self._attack(about, rejection, shows=shown)
        yield self._attack("none", NO_CERTIFICATE, mode=Mode.TLS)
        yield self._attack("its own, over TLS 1.2", OLD_TLS, mode=Mode.TLS12)
        yield self._attack("none, over plain HTTP", NO_TLS, mode=Mode.PLAIN)
        yield self._attack(
            "callee shows recommendations'", WRONG_IDENTITY, impostor=RECOMMENDATIONS
        )

    def others(self, tried: Iterable[Call]) -> Iterator[Call]:
        """Yield connections between all other pairs of which at least one side is enforced."""
        done = {(call.caller, call.callee, call.port) for call in tried}
        pods = (*self._shop.identities, *VISITORS)
        for caller in pods:
            for callee in (*pods, API_SERVER, PROVIDER):
                for port in self._ports(callee):
                    enforced = any(map(self._shop.is_enforced, (caller, callee)))
                    if enforced and caller != callee and (caller, callee, port) not in done:
                        yield Call(
                            caller, callee, port, "by neither side", Mode.CONNECT, passes=False
                        )

    def stranger(self, callee: Place, about: str) -> Call:
        """Return a call by a pod without a certificate that has the trust bundle."""
        bundle = {"ca.crt": self._secrets[PAYMENTS]["ca.crt"]}
        enforced = self._shop.is_enforced(callee)
        return Call(
            *(STRANGER, callee, "https", about, Mode.TLS),
            expect=self._statuses.spiffe_id(callee),
            shows=bundle,
            passes=not enforced,
            rejection=NO_CERTIFICATE,
        )

    def _intrusion(self, caller: Place, callee: Place, about: str, rejection: Rejection) -> Call:
        expect = self._statuses.spiffe_id(callee)
        return Call(
            caller, callee, "https", about, expect=expect, passes=False, rejection=rejection
        )

    def _attack(
        self,
        about: str,
        rejection: Rejection,
        *,
        mode: Mode = Mode.MTLS,
        shows: Files | None = None,
        impostor: Place | None = None,
    ) -> Call:
        return Call(
            *(CHECKOUT, PAYMENTS, "https", about, mode),
            expect=self._statuses.spiffe_id(PAYMENTS),
            shows=shows,
            impostor=impostor,
            rejection=rejection,
        )

    def _stolen(self, place: Place) -> Files:
        return {name: self._secrets[place][name] for name in ("tls.crt", "tls.key")}

    def _ports(self, callee: Place) -> Iterable[str]:
        if callee in VISITORS:
            return VISITORS_PORT[:1]
        return self._shop.ports(callee) if callee in self._shop.identities else (OUTSIDE_PORT,)

    def _days_left(self, callee: Place) -> int:
        trust = self._shop.identities[callee]["spec"]["authentication"]["gatewayOnly"]
        return (datetime.fromisoformat(trust["expiresAt"]) - datetime.now(UTC)).days


def _not_granted(scopes: list[str]) -> str:
    return f"{scopes[0].partition('.')[0]}.admin" if scopes else "admin"
