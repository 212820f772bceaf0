"""Execution of plan steps at the API server, and status writes."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from troth.cluster.errors import ApiError
from troth.pki.keys.parsing import PrivateKey
from troth.planning.faults import declared
from troth.planning.plan import Plan
from troth.planning.steps.authorities import (
    ActivateRoot,
    AddPlain,
    AdoptAuthority,
    CopyAuthority,
    CreateRoot,
    DropSlots,
    PrepareRoot,
    UpdateRetired,
)
from troth.planning.steps.broker_credentials import ChangeCredential
from troth.planning.steps.certificates import IssueLeaf, UpdatePublic
from troth.planning.steps.objects import Apply, Remove, RemoveLedger, Restart, SetFinalizers
from troth.planning.steps.signing_keys import (
    ActivateTokenKey,
    CreateTokenKey,
    PrepareTokenKey,
    UpdateIssuer,
)
from troth.planning.steps.step import Target, WriteStep, status_of
from troth.planning.steps.webhooks import ChangeWebhookKeys, CompileEndpoint
from troth.reconcile.apply.context import Context, Server
from troth.reconcile.apply.handlers import (
    authorities,
    broker_credentials,
    certificates,
    objects,
    signing_keys,
    webhooks,
)
from troth.reconcile.apply.keys.keyring import Keyring
from troth.reconcile.apply.writer import NOT_FOUND, Writer
from troth.reconcile.runtime.clock import Clock
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref
from troth.resources.reported import REPORTED
from troth.world.facts.broker import StoredLedger
from troth.world.facts.objects import Manifest
from troth.world.keys import Key, Keys
from troth.world.world import World

STEP_HANDLERS: dict[type[WriteStep], Callable[[Context, Any], Awaitable[Keys]]] = {
    Apply: objects.apply_object,
    Remove: objects.remove,
    RemoveLedger: objects.remove_ledger,
    Restart: objects.restart,
    SetFinalizers: objects.set_finalizers,
    CreateRoot: authorities.create_root,
    AdoptAuthority: authorities.adopt_authority,
    AddPlain: authorities.add_plain,
    PrepareRoot: authorities.prepare_root,
    CopyAuthority: authorities.copy_authority,
    ActivateRoot: authorities.activate_root,
    DropSlots: authorities.drop_slots,
    UpdateRetired: authorities.update_retired,
    CreateTokenKey: signing_keys.create_token_key,
    PrepareTokenKey: signing_keys.prepare_token_key,
    ActivateTokenKey: signing_keys.activate_token_key,
    UpdateIssuer: signing_keys.update_issuer,
    IssueLeaf: certificates.issue_leaf,
    UpdatePublic: certificates.update_public,
    ChangeCredential: broker_credentials.change_credential,
    ChangeWebhookKeys: webhooks.change_keys,
    CompileEndpoint: webhooks.compile_endpoint,
}
"""The handler of each step type. This is the only place that maps one to the other."""


class Executor:
    """Executes steps. The world takes in each answer at once, so its watch event is no news."""

    def __init__(
        self,
        server: Server,
        world: World,
        keyring: Keyring,
        clock: Clock,
        private_key: Callable[[Target, KeyAlgorithm], PrivateKey],
    ) -> None:
        writer = Writer(server, world, keyring, clock)
        self.alterations = writer.alterations
        self._context = Context(server, writer, world, keyring, clock, private_key)
        self._writing: dict[Key, Mapping[str, Any]] = {}
        """Statuses that are being written."""

    async def execute(self, step: WriteStep) -> Keys:
        """Execute a step and return the affected keys.

        Raises `ApiError`, `PKIError`, `CredentialError`, `TryAgain` if an object has changed since
        planning, or `KeyNotReady` if a private key must be generated first.
        """
        return await STEP_HANDLERS[type(step)](self._context, step)

    async def keep_ledger(self, manifest: Manifest, kept: StoredLedger | None) -> Keys:
        """Write a ledger over the known one, or create it if `kept` is None.

        Raises `TryAgain` if the ledger has changed.
        """
        uid, version = (kept.uid, kept.resource_version) if kept is not None else ("", "")
        return await self._context.writer.put(manifest, uid, version)

    async def status(self, plan: Plan) -> Keys:
        """Write a plan's status as one merge patch and return the keys that the answer affects.

        The patch leaves out empty lists and removes lists that have become empty. So equal statuses
        are stored equally, whatever was stored before.
        The resource's own key is included only if its spec changed after planning, or if the status
        is not stored as written: the answer brings that before the watch, and the watch event will
        then be no news. A resource that no longer exists needs no status.
        """
        if plan.status is None:
            return set()
        before = _without_empty_lists(plan.previous_status or {})
        after = _without_empty_lists(plan.status)
        patch = {name: None for name in before if name not in after}
        patch |= {
            name: _replacement(before.get(name), value)
            for name, value in after.items()
            if before.get(name) != value
        }
        body = {"metadata": {"uid": plan.uid}, "status": patch}
        self._writing[plan.key] = plan.status
        try:
            answer = await self._context.server.merge_patch(
                plan.key.kind, plan.key.ref, body, subresource="status"
            )
        except ApiError as error:
            if error.status == NOT_FOUND:
                return set()
            raise  # a conflict may pass; the informer reports another object of that name
        finally:
            del self._writing[plan.key]
        affected = self._context.writer.observe(answer)
        stored = _without_empty_lists(answer.get("status") or {})
        if stored != after:  # as it seldom is
            stored = self._stored_status(plan.key, answer)
        self.alterations.note(status_of(plan.key), {"status": after}, {"status": stored})
        if self.alterations.of(status_of(plan.key)):
            return affected | {plan.key}
        overtaken = answer["metadata"].get("generation") != plan.status.get("observedGeneration")
        return affected if overtaken else affected - {plan.key}

    def _stored_status(self, key: Key, answer: Manifest) -> dict[str, Any]:
        """Return the status in an answer as planning reads it, with its defaults."""
        resource = declared(key, self._context.world)
        status = answer.get("status") or {} if resource is None else resource.status.manifest()
        return _without_empty_lists(status)

    def echoes(self, manifest: Manifest) -> Keys:
        """Return the key whose status write this object reflects, if it contains no other change.

        The watch event often arrives before the answer.
        """
        key = Key(manifest["kind"], Ref.of(manifest))
        written = self._writing.get(key)
        observed = {
            name: value
            for name, value in (manifest.get("status") or {}).items()
            if name not in REPORTED
        }
        if written is None or _without_empty_lists(observed) != _without_empty_lists(written):
            return set()
        unchanged = manifest["metadata"].get("generation") == written.get("observedGeneration")
        return {key} if unchanged else set()


def changes_status(plan: Plan) -> bool:
    """Return whether a plan's status differs from the previous one as they are stored."""
    if plan.status == plan.previous_status:
        return False
    before = _without_empty_lists(plan.previous_status or {})
    return before != _without_empty_lists(plan.status or {})


def _without_empty_lists(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return a status without empty lists, which are equivalent to absent ones."""
    return {
        name: _without_empty_lists(value) if isinstance(value, dict) else value
        for name, value in status.items()
        if value != []
    }


def _replacement(before: Any, after: Any) -> Any:  # noqa: ANN401 - any JSON values
    """Return the merge patch that makes one value of the other; null removes a field."""
    if not isinstance(before, dict) or not isinstance(after, dict):
        return after
    gone: dict[str, Any] = {name: None for name in before if name not in after}
    return gone | {name: _replacement(before.get(name), value) for name, value in after.items()}
