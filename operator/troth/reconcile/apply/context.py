"""What the handlers of steps work with."""

from dataclasses import dataclass
from typing import Protocol

from troth.pki.authorities import SigningAuthority
from troth.reconcile.apply.keyring import Keyring
from troth.reconcile.apply.writer import TryAgain, Writer, Writes
from troth.reconcile.loop.clock import Clock
from troth.resources.references import Ref
from troth.world.facts.objects import Manifest
from troth.world.world import World


class Server(Writes, Protocol):
    """What steps need of an API server."""

    async def get(self, kind: str, ref: Ref) -> Manifest:
        """Return one object."""


@dataclass(frozen=True, slots=True)
class Context:
    """The API server, the world that its answers go into, and the private keys."""

    server: Server
    writer: Writer
    world: World
    keyring: Keyring
    clock: Clock

    def signer(self, secret: Ref, trust_domain: str, fingerprint: str) -> SigningAuthority:
        """Return the very authority that was planned with; raises `TryAgain` without it."""
        signer = self.keyring.signer(secret, trust_domain)
        if signer is None or signer.authority.fingerprint != fingerprint:
            raise TryAgain
        return signer
