"""Status of a WebhookEndpoint: its URL, its keys, and the remaining replay risk of its scheme."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from troth.planning import status as verdicts
from troth.planning.webhooks.document import signing_of
from troth.planning.webhooks.keys import Tried
from troth.planning.webhooks.rotation import SecretRotation
from troth.planning.webhooks.view import WebhookView
from troth.resources.conditions import Verdict
from troth.resources.schema.scalars import format_duration, format_time
from troth.resources.webhooks.endpoint_status import (
    MOST_KEYS,
    KeyState,
    WebhookEndpointStatus,
    WebhookKey,
)
from troth.webhooks.schemes.registry import scheme_for
from troth.world.facts.objects import Fault

UNSIGNED_WARNING = timedelta(days=14)
"""Time before the end of unsigned deliveries at which the warning starts."""
UNSIGNED = "UnsignedAccepted"
REPORTED_AFTER = timedelta(hours=1)
"""Minimum time between two values of a key's last use in the status."""


def endpoint_status(
    view: WebhookView, tried: Tried, rotation: SecretRotation
) -> WebhookEndpointStatus:
    """Return the status without its conditions."""
    return WebhookEndpointStatus(
        observed_generation=view.endpoint.metadata.generation,
        url=view.inbound.public_url,
        keys=tuple(_keys(view, tried, rotation))[:MOST_KEYS],
        residual_replay=residual_replay(view),
    )


def _keys(view: WebhookView, tried: Tried, rotation: SecretRotation) -> Iterator[WebhookKey]:
    reported = {key.id: key for key in view.endpoint.status.keys}
    for key in tried.keys:
        before = reported.get(key.id)
        same = before is not None and before.fingerprint == key.fingerprint
        known = before.last_verified if before is not None and same else None
        lately = view.verified.get(key.id)
        going = key in rotation.retiring
        yield WebhookKey(
            id=key.id,
            fingerprint=key.fingerprint,
            state=KeyState.RETIRING if going else KeyState.CURRENT,
            last_verified=lately if _is_news(lately, known) else known,
            until=rotation.until if going else None,
        )


def _is_news(lately: datetime | None, known: datetime | None) -> bool:
    return lately is not None and (known is None or lately >= known + REPORTED_AFTER)


def residual_replay(view: WebhookView) -> str:
    """Return what a recorded delivery allows after the replay window."""
    try:
        signs = scheme_for(signing_of(view.inbound)).signs_timestamp
    except ValueError:
        return ""
    if signs:
        return "none"
    if view.inbound.accept_unsigned is not None:
        return (
            f"{view.scheme} signs nothing: an attacker who has recorded one delivery can forge "
            "others at any time"
        )
    window = format_duration(view.inbound.replay_window)
    return (
        f"{view.scheme} signs no timestamp: a recorded delivery is accepted again after "
        f"{window}, when the gateway no longer remembers it"
    )


def unsigned_fault(view: WebhookView) -> Fault | None:
    """Return why unsigned deliveries are rejected although the endpoint accepts them."""
    unsigned = view.inbound.accept_unsigned
    if unsigned is None:
        return None
    if view.moment.now >= unsigned.expires_at:
        message = (
            f"unsigned deliveries were accepted until {format_time(unsigned.expires_at)}; use "
            "scheme GitLab with a signing token, or decide again and write another expiresAt"
        )
        return Fault("UnsignedExpired", message)
    if view.moment.now < unsigned.counts_from:
        message = "acceptUnsigned.expiresAt is more than 90 days ahead; write an earlier time"
        return Fault("UnsignedTooLong", message)
    return None


def unsigned_verdicts(view: WebhookView) -> Iterator[Verdict]:
    """Yield the verdict on unsigned deliveries, if the endpoint accepts them."""
    unsigned, fault = view.inbound.accept_unsigned, unsigned_fault(view)
    if unsigned is None:
        return
    whose = f"owner {unsigned.owner}, reason: {unsigned.reason}"
    if fault is not None:
        yield verdicts.false(UNSIGNED, fault.reason, fault.message)
    elif unsigned.expires_at <= view.moment.now + UNSIGNED_WARNING:
        message = (
            f"unsigned deliveries are accepted until {format_time(unsigned.expires_at)}; from "
            f"then on, every delivery is rejected ({whose})"
        )
        yield verdicts.true(UNSIGNED, "UnsignedEnding", message)
    else:
        yield verdicts.true(UNSIGNED, "UntilItsEnd", whose)


def unsigned_dues(view: WebhookView) -> Iterator[datetime]:
    """Yield the times at which the verdict on unsigned deliveries changes."""
    unsigned = view.inbound.accept_unsigned
    if unsigned is not None:
        yield unsigned.counts_from
        yield unsigned.expires_at - UNSIGNED_WARNING
        yield unsigned.expires_at
