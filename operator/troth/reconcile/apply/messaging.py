"""Carrying out the steps that grants at brokers need of the API server."""

from troth.cluster.errors import ApiError
from troth.planning.plan import SetFinalizers, TurnCredential
from troth.reconcile.apply.credential_secrets import credential_secret, replacing
from troth.reconcile.apply.keyring import Keyring
from troth.reconcile.apply.writer import CONFLICT, NOT_FOUND, TryAgain, Writer
from troth.reconcile.loop.clock import Clock
from troth.resources.references import Ref
from troth.world.facts.broker import KeptLedger
from troth.world.facts.objects import Manifest
from troth.world.keys import Keys
from troth.world.world import World


class MessagingExecutor:
    """Carries out what identities, policies and brokers ask for the sake of grants."""

    def __init__(self, writer: Writer, world: World, keyring: Keyring, clock: Clock) -> None:
        self._writer = writer
        self._world = world
        self._keyring = keyring
        self._clock = clock

    async def execute(self, step: TurnCredential | SetFinalizers) -> Keys:
        """Carry out a step and return whom the change affects; raises as `Executor` does."""
        match step:
            case SetFinalizers():
                return await self._set_finalizers(step)
            case TurnCredential():
                return await self._turn_credential(step)

    async def keep_ledger(self, manifest: Manifest, kept: KeptLedger | None) -> Keys:
        """Write a ledger over the one that is known, None for none; raises `TryAgain` where it is
        another by now.
        """
        uid, version = (kept.uid, kept.resource_version) if kept is not None else ("", "")
        return await self._writer.put(manifest, uid, version)

    async def _turn_credential(self, step: TurnCredential) -> Keys:
        """Make or replace the Secret of a credential, if it is as it was seen."""
        before = self._keyring.credential_data(step)
        if before is None:
            raise TryAgain
        secret = credential_secret(step, before, self._clock.now())
        if not step.uid:
            return await self._writer.put(secret, "")
        patch = replacing(step, secret, before)
        return await self._writer.merge("Secret", Ref.of(secret), patch)

    async def _set_finalizers(self, step: SetFinalizers) -> Keys:
        patch = {
            "metadata": {
                "uid": step.uid,
                "resourceVersion": step.resource_version,
                "finalizers": list(step.finalizers),
            }
        }
        try:
            answer = await self._writer.writes.merge_patch(step.kind, step.ref, patch)
        except ApiError as error:
            if error.status == NOT_FOUND:
                return set()
            if error.status == CONFLICT:
                raise TryAgain from error
            raise
        if answer["metadata"].get("deletionTimestamp") and not step.finalizers:
            return self._world.forget_written(step.kind, step.ref, step.uid, self._clock.uptime())
        return self._writer.observe(answer)
