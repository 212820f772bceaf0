"""Carrying out one step of a plan, and taking the answer back into the world."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from troth.cluster.errors import ApiError
from troth.pki.authorities import SigningAuthority
from troth.planning.owned_objects import differs
from troth.planning.plan import (
    ActivateRoot,
    ActivateTokenKey,
    AdoptAuthority,
    Apply,
    CopyAuthority,
    CreateRoot,
    CreateTokenKey,
    DropSlots,
    IssueLeaf,
    Plan,
    PrepareRoot,
    PrepareTokenKey,
    Remove,
    Restart,
    RootStep,
    SetFinalizers,
    Step,
    TurnCredential,
    UpdateIssuer,
    UpdatePublic,
    WriteStep,
)
from troth.planning.webhooks.planner import says
from troth.planning.webhooks.steps import CompileEndpoint, TurnWebhookKeys
from troth.reconcile.apply.key_material import (
    adopted_secret,
    is_slow,
    issuer_data,
    leaf_secret,
    next_given,
    next_root,
    next_token_key,
    public_data,
    root_secret,
    token_key_moves,
    token_key_secret,
)
from troth.reconcile.apply.keyring import Keyring
from troth.reconcile.apply.messaging import MessagingExecutor
from troth.reconcile.apply.webhooks import Reads, WebhookExecutor
from troth.reconcile.apply.writer import (
    CONFLICT,
    NOT_FOUND,
    UNPROCESSABLE,
    TryAgain,
    Writer,
    Writes,
)
from troth.reconcile.loop.clock import Clock
from troth.resources.references import Ref
from troth.resources.schema.scalars import format_time
from troth.world.facts.objects import RESTARTED_WITH, Content, Manifest
from troth.world.keys import Key, Keys
from troth.world.observation.objects import VIEW
from troth.world.outcomes.writes import IssuerViewWritten
from troth.world.world import World


def standing(world: World, manifest: Manifest) -> Content | None:
    """Return the facts of the object that a manifest describes, as the world has it."""
    facts = world.policies if manifest["kind"] == "NetworkPolicy" else world.bundles
    return facts.get(Ref.of(manifest))


def whole(manifest: Manifest) -> Manifest:
    """Return a manifest that says of a NetworkPolicy's every list what it is.

    To a server-side apply an absent list is none of its business, so that rules which another hand
    put into a policy that should have none would stay.
    """
    if manifest["kind"] != "NetworkPolicy":
        return manifest
    return {**manifest, "spec": {"ingress": [], "egress": [], **manifest["spec"]}}


def needed(plan: Plan, world: World) -> list[Step]:
    """Return the steps of a plan that the world does not show as done."""
    return [step for step in plan.steps if not is_done(step, world)]


def is_done(step: Step, world: World) -> bool:
    """Say whether the world shows a step as done, of those that say how things are to be."""
    match step:
        case Apply():
            fact = standing(world, step.manifest)
            return fact is not None and not differs(step.manifest, fact)
        case CompileEndpoint():
            compiled = world.webhooks.compiled.get(Ref.of(step.manifest))
            return compiled is not None and says(compiled, step)
        case Remove():
            return world.is_leaving(step.kind, step.ref)
        case _:
            return False


class Server(Writes, Reads, Protocol):
    """What steps need of an API server."""


class Executor:
    """Carries out steps; every answer goes into the world at once, so its echo is no news."""

    def __init__(self, writes: Server, world: World, keyring: Keyring, clock: Clock) -> None:
        self._writes = writes
        self._writer = Writer(writes, world, keyring, clock)
        self.messaging = MessagingExecutor(self._writer, world, keyring, clock)
        self._webhooks = WebhookExecutor(self._writer, writes, world, clock)
        self._world = world
        self._keyring = keyring
        self._clock = clock
        self._telling: dict[Key, Mapping[str, Any]] = {}

    async def execute(self, step: WriteStep) -> Keys:
        """Carry out a step and return whom the change affects.

        Raises `ApiError`, `PKIError`, `CredentialError`, or `TryAgain` where the world has moved
        on.
        """
        match step:
            case Apply():
                return await self._apply(step)
            case CreateRoot() | AdoptAuthority():
                return await self._begin_authority(step)
            case PrepareRoot() | CopyAuthority() | ActivateRoot() | DropSlots():
                return await self._hand_over(step)
            case CreateTokenKey() | PrepareTokenKey() | ActivateTokenKey() | UpdateIssuer():
                return await self._serve_issuer(step)
            case IssueLeaf():
                return await self._issue(step)
            case UpdatePublic():
                return await self._update_public(step)
            case Remove():
                return await self._remove(step)
            case Restart():
                return await self._restart(step)
            case TurnCredential() | SetFinalizers() | TurnWebhookKeys() | CompileEndpoint():
                return await self._serve_others(step)

    async def _serve_others(
        self, step: TurnCredential | SetFinalizers | TurnWebhookKeys | CompileEndpoint
    ) -> Keys:
        """Carry out what is neither for a trust domain nor for an identity alone."""
        if isinstance(step, TurnWebhookKeys | CompileEndpoint):
            return await self._webhooks.execute(step)
        return await self.messaging.execute(step)

    async def _apply(self, step: Apply) -> Keys:
        fact = standing(self._world, step.manifest)
        if fact is None and step.over:  # what it was made from is gone
            raise TryAgain
        return await self._writer.put(whole(step.manifest), fact.uid if fact else "", step.over)

    async def status(self, plan: Plan) -> Keys:
        """Write a plan's status as one merge patch and return whom the answer concerns.

        The resource itself only where its spec was changed since it was planned: the answer brings
        that change before the watch does, and the watch will then have no news. A resource that is
        gone needs no status.
        """
        if plan.status is None:
            return set()
        before = plan.previous_status or {}
        patch = {name: None for name in before if name not in plan.status}
        patch |= {name: value for name, value in plan.status.items() if before.get(name) != value}
        body = {"metadata": {"uid": plan.uid}, "status": patch}
        self._telling[plan.key] = plan.status
        try:
            answer = await self._writes.merge_patch(
                plan.key.kind, plan.key.ref, body, subresource="status"
            )
        except ApiError as error:
            if error.status == NOT_FOUND:
                return set()
            raise  # a conflict may pass; of a namesake the informer is about to tell
        finally:
            del self._telling[plan.key]
        affected = self._writer.observe(answer)
        overtaken = answer["metadata"].get("generation") != plan.status.get("observedGeneration")
        return affected if overtaken else affected - {plan.key}

    def echoes(self, manifest: Manifest) -> Keys:
        """Return whose status an object brings that is just being written, and nothing else.

        The watch is often quicker than the answer.
        """
        key = Key(manifest["kind"], Ref.of(manifest))
        told = self._telling.get(key)
        if told is None or _said(manifest.get("status") or {}) != _said(told):
            return set()
        unchanged = manifest["metadata"].get("generation") == told.get("observedGeneration")
        return {key} if unchanged else set()

    async def _begin_authority(self, step: CreateRoot | AdoptAuthority) -> Keys:
        if isinstance(step, CreateRoot):
            secret = await asyncio.to_thread(root_secret, step, self._clock.now())
        else:
            signer = self._signer(step.source, step.trust_domain, step.authority)
            secret = adopted_secret(step, signer)
        return await self._writer.put(secret, "")

    async def _hand_over(self, step: RootStep) -> Keys:
        """Take one step from one CA to the next, if their Secret is as it was seen."""
        match step:
            case PrepareRoot():
                data = await asyncio.to_thread(next_root, step, self._clock.now())
            case CopyAuthority():
                data = next_given(self._signer(step.source, step.trust_domain, step.authority))
            case ActivateRoot():
                moves = [
                    {"op": "move", "from": f"/data/{old}", "path": f"/data/{new}"}
                    for old, new in step.moves
                ]
                return await self._patch(step.ref, [*_unchanged(step), *moves, *_drops(step.drops)])
            case DropSlots():
                return await self._patch(step.ref, [*_unchanged(step), *_drops(step.slots)])
        metadata = {"uid": step.uid, "resourceVersion": step.resource_version}
        return await self._patch(step.ref, {"metadata": metadata, "data": data})

    async def _serve_issuer(
        self, step: CreateTokenKey | PrepareTokenKey | ActivateTokenKey | UpdateIssuer
    ) -> Keys:
        """Change what an issuer works from, if its Secret is as it was seen."""
        match step:
            case CreateTokenKey():
                return await self._writer.put(token_key_secret(step, self._clock.now()), "")
            case PrepareTokenKey():
                data = next_token_key(step, self._clock.now())
            case ActivateTokenKey():
                return await self._patch(step.ref, [*_unchanged(step), *token_key_moves(step)])
            case UpdateIssuer():
                data = issuer_data(step)
        metadata = {"uid": step.uid, "resourceVersion": step.resource_version}
        affected = await self._patch(step.ref, {"metadata": metadata, "data": data})
        if VIEW in data:
            written = IssuerViewWritten(step.ref, self._clock.uptime())
            affected |= self._world.observe_outcome(written)
        return affected

    async def _issue(self, step: IssueLeaf) -> Keys:
        signer = self._signer(step.authority_secret, step.trust_domain, step.authority)
        now = self._clock.now()
        if is_slow(step, signer):
            secret = await asyncio.to_thread(leaf_secret, step, signer, now)
        else:
            secret = leaf_secret(step, signer, now)
        return await self._writer.put(secret, step.uid, step.resource_version)

    def _signer(self, secret: Ref, trust_domain: str, fingerprint: str) -> SigningAuthority:
        """Return the very authority that was planned with; raises `TryAgain` without it."""
        signer = self._keyring.signer(secret, trust_domain)
        if signer is None or signer.authority.fingerprint != fingerprint:
            raise TryAgain
        return signer

    async def _update_public(self, step: UpdatePublic) -> Keys:
        written = step.manifest["metadata"]
        metadata = {"uid": step.uid, "labels": written["labels"]}
        if step.over:
            metadata["resourceVersion"] = step.over
        if "annotations" in written:
            metadata["annotations"] = written["annotations"]
        data = public_data(step.manifest) | dict.fromkeys(step.drops)
        return await self._patch(Ref.of(step.manifest), {"metadata": metadata, "data": data})

    async def _restart(self, step: Restart) -> Keys:
        """Change a workload's pod template as `kubectl rollout restart` does."""
        annotations = {
            "kubectl.kubernetes.io/restartedAt": format_time(self._clock.now()),
            RESTARTED_WITH: step.evidence,
        }
        patch = {
            "metadata": {"uid": step.uid, "resourceVersion": step.resource_version},
            "spec": {"template": {"metadata": {"annotations": annotations}}},
        }
        return await self._writer.merge(step.kind, step.ref, patch)

    async def _patch(self, secret: Ref, patch: Manifest | list[Manifest]) -> Keys:
        """Change part of a Secret, if it is still the one that was seen."""
        try:
            if isinstance(patch, list):
                answer = await self._writes.json_patch("Secret", secret, patch)
            else:
                answer = await self._writes.merge_patch("Secret", secret, patch)
        except ApiError as error:
            if error.status in (CONFLICT, NOT_FOUND):
                raise TryAgain from error
            if error.status == UNPROCESSABLE and isinstance(patch, list):
                await self._check_unchanged(secret, patch, error)
            raise
        return self._writer.observe(answer)

    async def _check_unchanged(self, secret: Ref, tests: list[Manifest], error: ApiError) -> None:
        """Raise `TryAgain` if a Secret is not what a JSON patch tests for.

        The API server answers 422 without a cause to a test that does not hold, and 422 to what it
        refuses. To take a refusal for a conflict would be to try for ever in silence.
        """
        try:
            found = (await self._writes.metadata("Secret", secret))["metadata"]
        except ApiError as gone:
            if gone.status == NOT_FOUND:
                raise TryAgain from error
            raise
        for each in tests:
            if each["op"] == "test" and found.get(each["path"].split("/")[-1]) != each["value"]:
                raise TryAgain from error

    async def _remove(self, step: Remove) -> Keys:
        try:
            answer = await self._writes.delete(step.kind, step.ref, step.uid)
        except ApiError as error:
            if error.status == CONFLICT:
                raise TryAgain from error  # a namesake, of which the informer is about to tell
            if error.status != NOT_FOUND:
                raise
        else:
            if answer.get("metadata", {}).get("finalizers"):  # somebody else's: it stays until then
                return self._writer.observe({**answer, "kind": step.kind})
        affected = self._world.forget_written(step.kind, step.ref, step.uid, self._clock.uptime())
        # else a Secret that is made at once would be taken for a change of this one
        if step.kind == "Secret" and not self._world.knows("Secret", step.ref):
            self._keyring.forget(step.ref)
        return affected


def _said(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a status says; a list that is empty may as well be left out."""
    return {name: value for name, value in status.items() if value != []}


def _drops(slots: Iterable[str]) -> list[Manifest]:
    return [{"op": "remove", "path": f"/data/{slot}"} for slot in slots]


def _unchanged(step: ActivateRoot | ActivateTokenKey | DropSlots) -> list[Manifest]:
    """Return the JSON patch operations that hold only if the Secret is as it was seen."""
    return [
        {"op": "test", "path": "/metadata/uid", "value": step.uid},
        {"op": "test", "path": "/metadata/resourceVersion", "value": step.resource_version},
    ]
