"""What is tried between the shop's services, and what must become of it at every layer.

Who carries a trial out is another matter: `pods`, where packets are filtered, or `processes`, where
they are not.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

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
from sandbox.demo.cluster import Standing
from sandbox.demo.shop import Place, Shop
from sandbox.demo.stolen import expired_certificate
from sandbox.node.workload import Files, Mode


@dataclass(frozen=True, slots=True)
class Refusal:
    """A handshake that fails: which side ends it, for which of an outcome's reasons, in words."""

    by: str
    reasons: tuple[str, ...]
    words: str


# A service that cannot look at a SPIFFE ID within the handshake says "not accepted" right after it.
NOT_A_PEER = Refusal("server", ("bad certificate", "not accepted"), "not one of its peers")
UNKNOWN_ROOT = Refusal("server", ("unknown certificate authority",), "trusts no such root")
EXPIRED = Refusal("server", ("expired certificate",), "it has expired")
NO_CERTIFICATE = Refusal("server", ("certificate required",), "asks for a certificate")
OLD_TLS = Refusal("server", ("protocol version not supported",), "TLS 1.3 only")
NO_TLS = Refusal("server", ("no TLS",), "that is not TLS")
WRONG_IDENTITY = Refusal("client", ("wrong identity",), "that is not payments")
REFUSALS = (
    *(NOT_A_PEER, UNKNOWN_ROOT, EXPIRED, NO_CERTIFICATE),
    *(OLD_TLS, NO_TLS, WRONG_IDENTITY),
)


@dataclass(frozen=True, slots=True)
class Trial:
    """One call and what must become of it.

    `about` says in words what was declared, or what is wrong with the call. `expect` is the SPIFFE
    ID of the callee, and `scopes` are what it grants the caller. With `shows`, the caller shows
    these files in place of its own; an `impostor` answers in the callee's place. The packet filter
    must let it through if `passes`, and then the handshake must end in `refusal`, if there is one.
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
    refusal: Refusal | None = None

    @property
    def is_honest(self) -> bool:
        """Whether the caller keeps to what it was told of whom it may call, and verifies it."""
        return self.refusal is None or self.refusal.by == "client"

    @property
    def needs_filter(self) -> bool:
        """Whether the packet filter alone decides it."""
        return self.mode is Mode.CONNECT or not (self.passes or self.refusal)


class Trials:
    """Everything that is tried; `secrets` are the files of every identity that has some."""

    def __init__(self, shop: Shop, standing: Standing, secrets: Mapping[Place, Files]) -> None:
        self._shop = shop
        self._standing = standing
        self._secrets = secrets

    def declared(self) -> Iterator[Trial]:
        """Try all that is declared: each edge with its scopes and with one that is not granted."""
        for edge, scopes in self._shop.agreed().items():
            if self._shop.is_mutual(edge.callee):
                expect = self._standing.spiffe_id(edge.callee)
                for scope in (*scopes, _not_granted(scopes)):
                    yield Trial(
                        *edge, "by both", expect=expect, scope=scope, scopes=tuple(sorted(scopes))
                    )
            else:
                yield Trial(*edge, f"gatewayOnly {self._days_left(edge.callee)} days", Mode.PLAIN)
        for callee, port in self._shop.unverified():
            yield Trial(PUBLIC, callee, port, "unverified", Mode.PLAIN)
        for callee, port in self._shop.collected():
            yield Trial(COLLECTOR, callee, port, "exception: metrics", Mode.PLAIN)
        for caller, host in self._shop.external():
            yield Trial(caller, Place("", host), OUTSIDE_PORT, "external", Mode.CONNECT)
        for caller in self._shop.operators():
            yield Trial(caller, API_SERVER, OUTSIDE_PORT, "kubernetesAPI", Mode.CONNECT)

    def undeclared(self) -> Iterator[Trial]:
        """Try what is not declared: one pair of each kind."""
        yield self._intrusion(FULFILMENT, PAYMENTS, "by neither", NOT_A_PEER)
        yield self._intrusion(REPORTING, LEDGER, "by the caller alone", NOT_A_PEER)
        yield self._intrusion(STAGING, PAYMENTS, "other trust domain", UNKNOWN_ROOT)
        yield self.stranger(PAYMENTS, "no identity")
        yield Trial(CHECKOUT, WAREHOUSE, "http", "not its gateway", Mode.PLAIN, passes=False)
        yield self.stranger(RECOMMENDATIONS, "only observed")

    def attacks(self, authority: Mapping[str, bytes]) -> Iterator[Trial]:
        """Try what must fail although packets pass; `authority` is the data of the CA's Secret."""
        expired = expired_certificate(self._standing.spiffe_id(CHECKOUT), authority)
        for about, shown, refusal in (
            ("its own, expired", expired, EXPIRED),
            ("fulfilment's", self._stolen(FULFILMENT), NOT_A_PEER),
            ("staging/checkout's", self._stolen(STAGING), UNKNOWN_ROOT),
        ):
            yield self._attack(about, refusal, shows=shown)
        yield self._attack("none", NO_CERTIFICATE, mode=Mode.TLS)
        yield self._attack("its own, by TLS 1.2", OLD_TLS, mode=Mode.TLS12)
        yield self._attack("none, plain HTTP", NO_TLS, mode=Mode.PLAIN)
        yield self._attack("an impostor's", WRONG_IDENTITY, impostor=RECOMMENDATIONS)

    def others(self, tried: Iterable[Trial]) -> Iterator[Trial]:
        """Try to connect between all other pairs of which one side at least is enforced."""
        done = {(trial.caller, trial.callee, trial.port) for trial in tried}
        pods = (*self._shop.identities, *VISITORS)
        for caller in pods:
            for callee in (*pods, API_SERVER, PROVIDER):
                for port in self._ports(callee):
                    enforced = any(map(self._shop.is_enforced, (caller, callee)))
                    if enforced and caller != callee and (caller, callee, port) not in done:
                        yield Trial(caller, callee, port, "nothing", Mode.CONNECT, passes=False)

    def stranger(self, callee: Place, about: str) -> Trial:
        """Return a call by one who has no certificate, but everybody's bundle."""
        bundle = {"ca.crt": self._secrets[PAYMENTS]["ca.crt"]}
        enforced = self._shop.is_enforced(callee)
        return Trial(
            *(STRANGER, callee, "https", about, Mode.TLS),
            expect=self._standing.spiffe_id(callee),
            shows=bundle,
            passes=not enforced,
            refusal=NO_CERTIFICATE,
        )

    def _intrusion(self, caller: Place, callee: Place, about: str, refusal: Refusal) -> Trial:
        expect = self._standing.spiffe_id(callee)
        return Trial(caller, callee, "https", about, expect=expect, passes=False, refusal=refusal)

    def _attack(
        self,
        about: str,
        refusal: Refusal,
        *,
        mode: Mode = Mode.MTLS,
        shows: Files | None = None,
        impostor: Place | None = None,
    ) -> Trial:
        return Trial(
            *(CHECKOUT, PAYMENTS, "https", about, mode),
            expect=self._standing.spiffe_id(PAYMENTS),
            shows=shows,
            impostor=impostor,
            refusal=refusal,
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
