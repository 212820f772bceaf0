"""Methods of the API server that the engine needs."""

from typing import Protocol

from troth.reconcile.apply.writer import Writes
from troth.reconcile.brokers.admins import Secrets
from troth.world.facts.objects import Manifest


class Server(Writes, Secrets, Protocol):
    """API server methods that the engine needs."""

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object. The engine creates only Events."""
