"""The dependencies of step handlers."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from troth.pki.certificates.authorities import SigningAuthority
from troth.pki.keys.parsing import PrivateKey
from troth.planning.steps.step import Target
from troth.reconcile.apply.keys.keyring import Keyring
from troth.reconcile.apply.writer import TryAgain, Writer, Writes
from troth.reconcile.runtime.clock import Clock
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest
from troth.world.world import World


class Server(Writes, Protocol):
    """API server methods that steps need."""

    async def get(self, kind: str, ref: Ref) -> Manifest:
        """Return one object."""


@dataclass(frozen=True, slots=True)
class Context:
    """The API server, the world that takes in its answers, and the private keys."""

    server: Server
    writer: Writer
    world: World
    keyring: Keyring
    clock: Clock
    private_key: Callable[[Target, KeyAlgorithm], PrivateKey]
    """Returns a new private key for a Secret; raises `KeyNotReady` until it exists."""
    first_authority: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while the first authority of a TrustDomain is written, because another TrustDomain of
    the same SPIFFE trust domain must see it."""

    def signer(self, secret: Ref, trust_domain: str, fingerprint: str) -> SigningAuthority:
        """Return the authority with this fingerprint; raises `TryAgain` without it."""
        signer = self.keyring.signer(secret, trust_domain)
        if signer is None or signer.authority.fingerprint != fingerprint:
            raise TryAgain
        return signer
