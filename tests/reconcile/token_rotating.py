"""Simulated cluster for token key rotations, built on `rotating`.

An issuer may sign with the key that its Secret held `bundle.propagation` ago, a token lives for the
maximum lifetime, and pods read their bundles late. At every moment the key of every token that may
still be in use must be in every bundle of this trust domain and of its federated peer.
"""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

from tests import builders
from tests.builders import stamp
from tests.reconcile.rotating import SYSTEM, Files, Manifest, Scene, begun, presented, roots_of
from tests.reconcile.rotating import trust_domain as without_tokens
from troth.documents.secret_keys import LEAF, ROOTS
from troth.pki.tokens.signing import LEEWAY, MAX_LIFETIME
from troth.planning.trust_domain.spiffe_bundles import key_ids_in
from troth.resources.references import Ref
from troth.world.observation import objects as observe

TOKENS = "Secret", Ref(SYSTEM, "production-tokens")
ISSUER = "Secret", Ref(SYSTEM, "production-issuer")
KEY_LIFETIME = timedelta(hours=24)
ABROAD = "team-abroad"


def trust_domain(**spec: Any) -> Manifest:
    """Return a trust domain whose root outlives every test here and whose token key does not."""
    return without_tokens(
        **{
            "authority": {"selfManaged": {"lifetime": "8000h"}},
            "certificates": {"lifetime": "24h"},
            "tokens": {"keyLifetime": "24h"},
            "federatesWith": [{"name": "abroad"}],
        }
        | spec
    )


class TokenScene(Scene):
    """Scene that also verifies tokens."""

    def __init__(self, *more: Manifest) -> None:
        super().__init__(
            trust_domain(),
            builders.domain("abroad", federatesWith=[{"name": "production"}]),
            builders.namespace(ABROAD, domain="abroad"),
            *more,
        )
        self.token_phases: list[str] = []
        self._signing: list[str] = []
        self._published: list[dict[str, frozenset[str]]] = []
        self._histories += [self._signing, self._published]

    @property
    def token_phase(self) -> str:
        return str(self.status.get("tokenRotation", {}).get("phase", "Idle"))

    @property
    def token_blockers(self) -> list[str]:
        return list(self.status.get("tokenRotation", {}).get("blockers", []))

    @property
    def signing(self) -> str:
        """Fingerprint of the key that signs."""
        return str(self.status["tokenKeys"][0]["fingerprint"])

    async def until_tokens(self, phase: str) -> None:
        give_up = self.clock.now() + 2 * KEY_LIFETIME
        while self.token_phase != phase:
            assert self.clock.now() < give_up, f"still {self.token_phase}: {self.token_blockers}"
            await self._advance(give_up)

    async def ask(self, **spec: Any) -> None:
        """Request a rotation of the root and the token key."""
        asked = {"requestedAt": stamp(self.clock.now())} | spec
        await self.user_puts(
            builders.rotation("TrustDomain", "production", SYSTEM, "asked", **asked)
        )

    def keys_in(self, namespace: str) -> frozenset[str]:
        """Return the IDs of this trust domain's keys in a namespace's bundle."""
        found = self.server.objects.get(("ConfigMap", Ref(namespace, "trust-bundle")))
        text = found["data"].get(observe.BUNDLE_MAP, "") if found else ""
        return key_ids_in(text, "prod.shop.example")

    def files(self) -> Iterator[tuple[Ref, Files]]:
        yield from super().files()
        data = observe.decoded(self.server.objects[ISSUER])
        signer, valid = presented(data[LEAF])
        yield ISSUER[1], Files(signer, roots_of(data[ROOTS]), valid)

    def _look(self) -> None:
        super()._look()
        if not self.token_phases or self.token_phases[-1] != self.token_phase:
            self.token_phases.append(self.token_phase)
        secret = observe.tokens_secret(self.server.objects[TOKENS])
        assert secret.active is not None
        self._signing.append(secret.active.kid)
        self._published.append({ns: self.keys_in(ns) for ns in ("team0", "team1", ABROAD)})
        life = (MAX_LIFETIME + LEEWAY + self.propagation) // self.step
        alive = frozenset(self._signing[-life:])
        late = max(0, len(self._published) - 1 - self._lag)
        for seen in (self._published[-1], self._published[late]):
            for namespace, keys in seen.items():
                for kid in alive - keys:
                    told = f"{namespace} refuses a token of {kid}, in phase {self.token_phase}"
                    self.broken.append(told)


def scene(*more: Manifest) -> AbstractAsyncContextManager[TokenScene]:
    """Start a scene with the default declarations and more objects."""
    return begun(TokenScene(*more))
