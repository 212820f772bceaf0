"""Carrying out the steps of WebhookEndpoints: keys that Troth makes, and compiled endpoints."""

from collections.abc import Mapping
from typing import Protocol

from troth.cluster.errors import ApiError
from troth.planning.webhooks.steps import CompileEndpoint, TurnWebhookKeys
from troth.reconcile.apply.webhook_secrets import compiled, new_secret, turning
from troth.reconcile.apply.writer import NOT_FOUND, TryAgain, Writer
from troth.reconcile.loop.clock import Clock
from troth.resources.references import Ref
from troth.webhooks.schemes.scheme import LONGEST_KEY
from troth.world.facts.objects import Manifest
from troth.world.keys import Keys
from troth.world.observation.secret_data import SecretData
from troth.world.observation.webhook_secrets import fingerprint, is_generated, is_given
from troth.world.world import World


class Reads(Protocol):
    """The read of an API server that copying keys needs."""

    async def get(self, kind: str, ref: Ref) -> Manifest:
        """Return one object."""


class WebhookExecutor:
    """Carries out what endpoints ask. Keys are read when they are copied, and kept nowhere."""

    def __init__(self, writer: Writer, reads: Reads, world: World, clock: Clock) -> None:
        self._writer = writer
        self._reads = reads
        self._world = world
        self._clock = clock

    async def execute(self, step: TurnWebhookKeys | CompileEndpoint) -> Keys:
        """Carry out a step and return whom the change affects; raises as `Executor` does."""
        match step:
            case TurnWebhookKeys():
                return await self._turn(step)
            case CompileEndpoint():
                return await self._compile(step)

    async def _turn(self, step: TurnWebhookKeys) -> Keys:
        now = self._clock.now()
        if not step.uid:
            return await self._writer.put(new_secret(step, now), "")
        return await self._writer.merge("Secret", Ref.of(step.manifest), turning(step, now))

    async def _compile(self, step: CompileEndpoint) -> Keys:
        secret = compiled(step, await self._keys(step))
        standing = self._world.webhooks.compiled.get(Ref.of(secret))
        if standing is None:
            return await self._writer.put(secret, "")
        metadata = {
            "uid": standing.uid,
            "resourceVersion": standing.resource_version,
            "labels": secret["metadata"]["labels"],
            "annotations": secret["metadata"]["annotations"],
        }
        # an apply would leave a key where it is that somebody else has put there
        goes = dict.fromkeys(standing.names - secret["data"].keys())
        patch = {"metadata": metadata, "data": {**goes, **secret["data"]}}
        return await self._writer.merge("Secret", standing.ref, patch)

    async def _keys(self, step: CompileEndpoint) -> Mapping[str, bytes]:
        """Return the very keys that were planned with; raises `TryAgain` without one of them."""
        if step.source is None:
            return {}
        try:
            found = await self._reads.get("Secret", step.source)
        except ApiError as error:
            if error.status == NOT_FOUND:
                raise TryAgain from error
            raise
        if not (is_given(found) or is_generated(found)):  # taken back since
            raise TryAgain
        data, uid = SecretData(found), found["metadata"].get("uid", "")
        keys = {key: data.value(key, LONGEST_KEY) for key in step.keys if key in data}
        if {key: fingerprint(uid, text) for key, text in keys.items()} != dict(step.keys):
            raise TryAgain
        return keys
