"""Status of a WebhookEndpoint: its URL, its keys, and the remaining replay risk of its scheme."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from troth.planning.parts import Part, fails_closed, unplanned
from troth.planning.webhooks.document import signing_of
from troth.planning.webhooks.judged import JudgedEndpoint
from troth.planning.webhooks.view import WebhookView
from troth.resources.schema.scalars import format_duration
from troth.resources.webhooks.endpoint_status import MOST_KEYS, KeyState, WebhookKey
from troth.webhooks.schemes.registry import scheme_for

REPORTED_AFTER = timedelta(hours=1)
"""Minimum time between two values of a key's last use in the status."""


@fails_closed(unplanned())
def plan_report(judged: JudgedEndpoint) -> Part:
    """Return the part with the status except its conditions."""
    view = judged.view
    return Part(
        status={
            "url": view.inbound.public_url,
            "keys": tuple(_keys(judged))[:MOST_KEYS],
            "residual_replay": residual_replay(view),
        }
    )


def _keys(judged: JudgedEndpoint) -> Iterator[WebhookKey]:
    view, rotation = judged.view, judged.rotation
    reported = {key.id: key for key in view.endpoint.status.keys}
    for key in judged.keys.keys:
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
