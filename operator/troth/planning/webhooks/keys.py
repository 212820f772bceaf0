"""Keys of a sender that the gateway tries, and the condition SecretAvailable."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from troth.planning import verdicts
from troth.planning.steps.webhooks import ChangeWebhookKeys
from troth.planning.webhooks.owned_secrets import generated_manifest, in_the_way
from troth.planning.webhooks.view import WebhookView
from troth.resources.conditions import Verdict
from troth.resources.references import Ref
from troth.resources.webhooks.endpoint_status import MOST_KEYS
from troth.resources.webhooks.schemes import ISSUED_BY_SENDER, SchemeName
from troth.world.facts.objects import Fault
from troth.world.facts.webhook import TOO_LARGE, KnownKey
from troth.world.observation.webhook_secrets import GIVEN_LABEL, LONGEST_ID

CONDITION = "SecretAvailable"


@dataclass(frozen=True, slots=True)
class EndpointKeys:
    """Keys that the gateway tries, and their Secret.

    `verdict` is the condition, and `step` creates the first key.
    """

    verdict: Verdict
    keys: tuple[KnownKey, ...] = ()
    source: Ref | None = None
    step: ChangeWebhookKeys | None = None


def plan_keys(view: WebhookView) -> EndpointKeys:
    """Return the keys of an endpoint.

    An unusable key does not affect the others: deliveries signed with these stay valid.
    """
    if view.needs_no_key:
        return EndpointKeys(
            verdicts.true(
                CONDITION, "NotNeeded", "no key is needed, because AWS publishes its certificates"
            )
        )
    fault = next((fault for check in CHECKS if (fault := check(view)) is not None), None)
    verdict = verdicts.true(CONDITION, "Available", "the sender's keys are available")
    if fault is not None:
        verdict = verdicts.false(CONDITION, fault.reason, fault.message)
    step = _first_key(view) if fault is not None and view.generates else None
    source = view.keys.ref if view.keys is not None else None
    return EndpointKeys(verdict, tuple(_tried(view)), source, step)


def _tried(view: WebhookView) -> Iterator[KnownKey]:
    """Yield the keys to try.

    If there are too many, these are only those that the gateway tries already, because Troth cannot
    know which of the others are meant.
    """
    known = usable(view)
    if len(known) <= MOST_KEYS:
        yield from known
        return
    before = view.compiled.keys if view.compiled is not None else {}
    yield from (key for key in known if before.get(key.id) == key.fingerprint)


def usable(view: WebhookView) -> tuple[KnownKey, ...]:
    """Return the keys that the scheme can use, sorted by ID."""
    if view.keys is None:
        return ()
    if view.generates and in_the_way(view.generated, view.endpoint, view.moment.now) is not None:
        return ()
    return tuple(key for key in view.keys.keys if _is_usable(key, view))


def _is_usable(key: KnownKey, view: WebhookView) -> bool:
    return view.scheme in key.usable_for and len(key.id) <= LONGEST_ID


# Checks


def place_is_free(view: WebhookView) -> Fault | None:
    """Check that no foreign Secret has the name of Troth's, and that Troth can write it."""
    if not view.generates:
        return None
    fault = in_the_way(view.generated, view.endpoint, view.moment.now)
    if fault is not None:
        return fault
    return view.generated.write_fault


def secret_is_there(view: WebhookView) -> Fault | None:
    """Check that the Secret exists, and has the label that lets Troth read it."""
    if view.keys is not None:
        return None
    if view.generates:
        return Fault("SecretPending", f"Secret {view.generated.ref} is being created")
    return Fault(
        "SecretMissing",
        f"Secret {view.endpoint.given_secret} with the label {GIVEN_LABEL} does not exist; "
        f'create it, or label the existing one {GIVEN_LABEL}: "true", because Troth reads only '
        "labelled Secrets",
    )


def is_read(view: WebhookView) -> Fault | None:
    """Check that the Secret does not have so many entries that Troth reads none of them."""
    assert view.keys is not None
    if not view.keys.unread:
        return None
    message = (
        f"Secret {view.keys.ref} has {view.keys.unread} entries, so Troth reads none of them and "
        f"uses no key; keep only the keys that the sender uses, at most {MOST_KEYS}"
    )
    return Fault("TooManyKeys", message)


def has_keys(view: WebhookView) -> Fault | None:
    """Check that the Secret has a key."""
    assert view.keys is not None
    if view.keys.keys:
        return None
    if view.generates:
        return Fault("SecretPending", f"a key in Secret {view.keys.ref} is being created")
    whose = "the sender issues" if view.scheme in ISSUED_BY_SENDER else "you gave to the sender"
    message = f"put the key that {whose} into Secret {view.keys.ref}, under any name"
    return Fault("NoKeys", message)


def keys_are_usable(view: WebhookView) -> Fault | None:
    """Check that the scheme can use every key."""
    assert view.keys is not None
    useless = [key for key in view.keys.keys if not _is_usable(key, view)]
    if not useless:
        return None
    if view.generates and not usable(view):
        return Fault("SecretPending", f"a key in Secret {view.keys.ref} is being created")
    message = (
        f"scheme {view.scheme} cannot use what Secret {view.keys.ref} has under "
        f"{_listed(useless, view.scheme)}; put the key there exactly as the sender shows it, or "
        "remove it"
    )
    return Fault("KeyUnusable", message)


def not_too_many(view: WebhookView) -> Fault | None:
    """Check that there are no more keys than the gateway tries."""
    assert view.keys is not None
    if len(view.keys.keys) <= MOST_KEYS:
        return None
    message = (
        f"Secret {view.keys.ref} has more than {MOST_KEYS} keys; remove those that the sender no "
        "longer uses. Until then, the gateway tries only the keys that it tried before"
    )
    return Fault("TooManyKeys", message)


CHECKS: tuple[Callable[[WebhookView], Fault | None], ...] = (
    place_is_free,
    secret_is_there,
    is_read,
    has_keys,
    not_too_many,
    keys_are_usable,
)


def _first_key(view: WebhookView) -> ChangeWebhookKeys | None:
    """Return the step that creates a key if there is none that the scheme can use."""
    if in_the_way(view.generated, view.endpoint, view.moment.now) is not None or usable(view):
        return None
    if view.keys is not None and view.keys.unread:  # Troth would add keys without end
        return None
    known = view.keys.keys if view.keys is not None else ()
    return change_keys(view, adds=next_id(known), drops=tuple(key.id for key in known))


def change_keys(
    view: WebhookView, adds: str = "", drops: tuple[str, ...] = ()
) -> ChangeWebhookKeys:
    """Return the step that adds a key to Troth's Secret and drops others."""
    known = view.keys
    return ChangeWebhookKeys(
        generated_manifest(view.generated.ref, view.endpoint),
        known.uid if known is not None else "",
        known.resource_version if known is not None else "",
        view.scheme,
        adds,
        drops,
        {
            key.id: key.made_at
            for key in (known.keys if known is not None else ())
            if key.made_at is not None and key.id not in drops
        },
    )


def next_id(known: tuple[KnownKey, ...]) -> str:
    """Return the ID of the next key that Troth creates, k2 after k1."""
    numbers = [int(key.id[1:]) for key in known if key.id[:1] == "k" and key.id[1:].isdecimal()]
    return f"k{max(numbers, default=0) + 1}"


def _listed(keys: list[KnownKey], scheme: SchemeName) -> str:
    shown = sorted(keys, key=lambda key: key.id)[:MOST_KEYS]
    return ", ".join(_shown(key, scheme) for key in shown)


def _shown(key: KnownKey, scheme: SchemeName) -> str:
    name = key.id if len(key.id) <= LONGEST_ID else f"{key.id[:32]}…"
    says_why = key.flaw == TOO_LARGE or scheme is SchemeName.HTTP_SIGNATURES
    return f"{name} ({key.flaw})" if key.flaw and says_why else name
