"""Whether a target has read the entry of an endpoint and the key of its gateway.

A target rejects a delivery that its `identity.json` does not list, and a signature of a key that it
does not have. Troth cannot observe which files a target has read. So it waits `bundle.propagation`
for a new entry, as in a rotation, from when this process saw it in the target's Secret. A change of
the clock shortens no wait, and a restart only prolongs it.

The end of the wait is recorded in the compiled Secret (`CompiledSecret.listed`), and what the
target has read stays known. Neither a restart nor another change of the endpoint delays deliveries
again.
"""

from dataclasses import dataclass
from datetime import timedelta

from troth.documents.identity.deliveries import ListedDelivery
from troth.planning.owned_objects import secret_ref
from troth.planning.webhooks.view import WebhookView
from troth.world.facts.objects import Fault

PENDING = "TargetPending"


@dataclass(frozen=True, slots=True)
class Propagation:
    """Fingerprint of what the target has had for long enough, or what is waited for.

    `fault` has the same message during the whole wait. `why` says what is waited for. `wait` is for
    how long, if only time has to pass.
    """

    listed: str = ""
    fault: Fault | None = None
    why: str = ""
    wait: timedelta | None = None


def plan_propagation(view: WebhookView) -> Propagation:
    """Return whether the target of a live edge has the endpoint and the gateway's key."""
    assert view.domain is not None
    wanted = _wanted(view)
    fingerprint = wanted.fingerprint(view.target_ref)
    settle = view.domain.spec.bundle.propagation
    if current_listed(view) == fingerprint and not _is_first_key(view, settle):
        return Propagation(fingerprint)
    secret, where = view.target_secret, f"Secret {secret_ref(view.target_ref)}"
    listed = secret.webhooks_since.get(wanted) if secret is not None else None
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
    """Return the fingerprint of what the target has read already, empty if it is nothing."""
    return view.compiled.listed if view.compiled is not None else ""


def _wanted(view: WebhookView) -> ListedDelivery:
    to = view.inbound.target
    return ListedDelivery(view.gateway_id, to.port, str(view.endpoint.ref), to.path, to.workflow)


def _is_first_key(view: WebhookView, settle: timedelta) -> bool:
    """Return whether the gateway's key may be new to the target.

    This is possible only for a key that was created less than `settle` ago. A next key signs only
    after every target has it (`troth.planning.identity.credentials.webhook_signing`). But if the
    previous key is lost, or the gateway is new, a key signs as soon as it exists.
    """
    made = view.signs.made_at if view.signs is not None else None
    return made is not None and made <= view.moment.now < made + settle


def _waits(view: WebhookView, why: str, wait: timedelta | None = None) -> Propagation:
    message = (
        f"the pods of {view.target_ref} reject deliveries until they have read the endpoint's entry"
    )
    return Propagation("", Fault(PENDING, message), why, wait)
