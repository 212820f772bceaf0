"""Digests of what was in place as planned, to tell a changed declaration from drift.

Each digest includes the uid of its resource, so it does not apply to a new resource of that name.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from troth.planning.owned_objects import secret_ref
from troth.planning.plan import Plan
from troth.planning.steps.certificates import UpdatePublic
from troth.planning.steps.objects import Apply
from troth.planning.steps.signing_keys import UpdateIssuer
from troth.planning.steps.step import Step
from troth.planning.steps.webhooks import CompileEndpoint
from troth.reconcile.drift.issuer_digests import IssuerDigests
from troth.resources.references import Ref
from troth.world.facts.objects import canonical
from troth.world.keys import ISSUER_VIEW, Key, Keys
from troth.world.observation.objects import BUNDLE, VIEW
from troth.world.world import World

Digests = Mapping[tuple[str, Ref], bytes]
"""Digests of written objects, by kind and name."""


class AppliedDigests:
    """Digests of what was last in place as planned, for each resource."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._digests: dict[Key, tuple[str, Digests]] = {}
        self._issuers = IssuerDigests()

    def was_changed(self, step: Step, plan: Plan) -> bool:
        """Return whether a step restores exactly what was in place, so that it is a drift."""
        uid, digests = self._digests.get(plan.key, ("", {}))
        before = digests.get(step.target) if uid == plan.uid else None
        match step:
            case Apply():
                return before is not None and before == _digest(step.manifest)
            case CompileEndpoint():
                return before is not None and before == _compiled(step)
            case UpdatePublic():
                return before is not None and before == _digest(step.manifest["stringData"])
            case UpdateIssuer():
                return self._issuers.was_changed(step)
            case _:
                return True

    def carried_out(self, step: Step) -> None:
        """Record an executed step whose result no plan shows."""
        if isinstance(step, UpdateIssuer):
            self._issuers.keep(step.ref, step.uid, step.data)

    def forget_secret(self, ref: Ref) -> None:
        """Forget the digests of an issuer's Secret that no longer exists."""
        self._issuers.forget(ref)

    @property
    def keys(self) -> Keys:
        """Resources of which a digest is known."""
        return set(self._digests)

    def forget(self, key: Key) -> None:
        """Forget the digests of a resource and of its Secret as an issuer."""
        self._digests.pop(key, None)
        secret = self._world.tokens.named(key.ref.name) if key.kind == "TrustDomain" else None
        if secret is not None:
            self._issuers.forget(secret.ref)

    def remember(self, plan: Plan) -> None:
        """Record what a plan asks for, once it is in place."""
        self._remember_served(plan)
        if plan.status is None:
            self._digests.pop(plan.key, None)
            return
        in_place = {
            step.target: _digest(step.manifest) for step in plan.steps if isinstance(step, Apply)
        } | {
            step.target: _compiled(step) for step in plan.steps if isinstance(step, CompileEndpoint)
        }
        secret = self._world.secrets.get(secret_ref(plan.key.ref))
        if secret is not None and not any(isinstance(step, UpdatePublic) for step in plan.steps):
            in_place["Secret", secret.ref] = _digest(secret.public)
        self._digests[plan.key] = plan.uid, in_place

    def _remember_served(self, plan: Plan) -> None:
        """Record an issuer's configuration if it is in place as planned."""
        secret = self._world.tokens.named(plan.key.ref.name)
        pending = plan.key.kind == ISSUER_VIEW and plan.due is not None
        if secret is None or pending or any(isinstance(step, UpdateIssuer) for step in plan.steps):
            return
        match plan.key.kind:
            case "TrustDomain":
                self._issuers.keep(secret.ref, secret.uid, {BUNDLE: secret.bundle})
            case "IssuerView":
                self._issuers.keep(secret.ref, secret.uid, {VIEW: secret.view})


def _compiled(step: CompileEndpoint) -> bytes:
    return _digest({"manifest": step.manifest, "document": step.document, "keys": dict(step.keys)})


def _digest(content: Mapping[str, Any]) -> bytes:
    return hashlib.sha256(canonical(content)).digest()
