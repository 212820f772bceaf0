"""Whether a target knows what a gateway is to hand on to it.

A target refuses what its `identity.json` does not list, and what is signed by a key that is not
there. Nobody can see which files it has read: what is new to it is waited for as in a handover, for
`bundle.propagation` since this process saw it in the target's Secret. So a clock that is set
shortens no wait, and a restart only prolongs it.

That it was waited for is kept with the compiled endpoint (`CompiledSecret.listed`). What the target
has known before it goes on knowing: neither a restart nor a change of anything else at the endpoint
holds deliveries up once more.
"""

from dataclasses import dataclass
from datetime import timedelta

from troth.planning.owned_objects import secret_ref
from troth.planning.webhooks.view import WebhookView
from troth.world.facts.objects import Fault
from troth.world.facts.webhook_listed import Listed

PENDING = "TargetPending"
ON_ITS_WAY = frozenset({PENDING})
"""Reasons that pass without a person doing anything."""


@dataclass(frozen=True, slots=True)
class Propagation:
    """What a target has been told for long enough, by its fingerprint; or why it is waited for.

    `fault` says so in words that stay the same meanwhile, `why` what it is that is waited for, and
    `wait` for how long where only time has to pass.
    """

    listed: str = ""
    fault: Fault | None = None
    why: str = ""
    wait: timedelta | None = None


def plan_propagation(view: WebhookView) -> Propagation:
    """Return whether the target of a live edge knows the endpoint and the gateway's key."""
    assert view.domain is not None
    asked = _asked(view)
    fingerprint = asked.fingerprint(view.target_ref)
    settle = view.domain.spec.bundle.propagation
    if current_listed(view) == fingerprint and not _is_first_key(view, settle):
        return Propagation(fingerprint)
    secret, where = view.told, f"Secret {secret_ref(view.target_ref)}"
    listed = secret.webhooks_since.get(asked) if secret is not None else None
    if secret is None or listed is None:
        return _waits(view, f"{where} does not list the endpoint yet")
    if view.signs is None:
        return _waits(view, f"{view.gateway_ref} has no signing key yet; see its status")
    known = secret.webhook_keys_since.get(view.signs.kid)
    if known is None:
        return _waits(view, f"{where} does not have the gateway's key yet")
    left = settle - timedelta(seconds=view.moment.uptime - max(listed, known))
    if left > timedelta(0):
        return _waits(view, f"they will have read {where} no later than", left)
    return Propagation(fingerprint)


def current_listed(view: WebhookView) -> str:
    """Return what the target was told long ago, empty where nothing was."""
    return view.compiled.listed if view.compiled is not None else ""


def _asked(view: WebhookView) -> Listed:
    to = view.inbound.target
    return Listed(view.gateway_id, to.port, str(view.endpoint.ref), to.path, to.workflow)


def _is_first_key(view: WebhookView, settle: timedelta) -> bool:
    """Say whether a key may be new to the target, as is only one that was made a moment ago.

    A next key is put to use once every target has it (`troth.planning.identity.webhook_signing`);
    but where the one before is lost, or the gateway new, a key signs as soon as it is made.
    """
    made = view.signs.made_at if view.signs is not None else None
    return made is not None and made <= view.moment.now < made + settle


def _waits(view: WebhookView, why: str, wait: timedelta | None = None) -> Propagation:
    message = (
        f"the pods of {view.target_ref} reject deliveries until they have read the endpoint's entry"
    )
    return Propagation("", Fault(PENDING, message), why, wait)
