"""WebhookEndpoints whose sender signs no timestamp, so that an old delivery stays valid."""

from collections.abc import Iterator
from datetime import timedelta

from troth.audit.finding import Evidence, Finding, Fix, Object, Patch
from troth.audit.rule import Rule
from troth.audit.scene import Scene
from troth.planning.webhooks.document import signing_of
from troth.resources.reported import Severity
from troth.resources.webhooks.endpoint import WebhookEndpoint
from troth.resources.webhooks.inbound import Inbound
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.registry import scheme_for

LONGEST_WINDOW = timedelta(hours=720)
"""The most that `replayWindow` accepts. No gateway can remember a delivery for longer."""
_NONE = ("", "none")


def _find(scene: Scene, namespace: str) -> Iterator[Finding]:
    for ref, endpoint in sorted(scene.world.registry.webhooks.endpoints.items()):
        inbound = endpoint.spec.inbound
        if ref.namespace != namespace or inbound is None or inbound.scheme is None:
            continue
        signed = _signs_timestamp(inbound)
        if signed or (signed is None and endpoint.status.residual_replay in _NONE):
            continue
        subject = Object("WebhookEndpoint", ref)
        if inbound.scheme is SchemeName.GITLAB_TOKEN:
            message = (
                "the scheme GitLabToken signs nothing, so that a recorded delivery can be replayed "
                "and changed at any time; use the scheme GitLab with a signing token"
            )
        elif inbound.replay_window >= LONGEST_WINDOW:
            continue
        else:
            message = (
                f"the scheme {inbound.scheme} signs no timestamp, and the gateway forwards a "
                "recorded delivery again when it no longer remembers it; set replayWindow to 720h"
            )
        yield Finding(RULE.id, subject, message, tuple(_evidence(subject, endpoint)))


def _signs_timestamp(inbound: Inbound) -> bool | None:
    """Return whether the sender signs a timestamp, None if the scheme cannot be set up."""
    try:
        return scheme_for(signing_of(inbound)).signs_timestamp
    except ValueError:
        return None


def _evidence(subject: Object, endpoint: WebhookEndpoint) -> Iterator[Evidence]:
    inbound = endpoint.spec.inbound
    assert inbound is not None
    yield Evidence(subject, "spec.inbound.scheme", f"is {inbound.scheme}")
    residual = endpoint.status.residual_replay
    if residual not in _NONE:
        yield Evidence(subject, "status.residualReplay", f"is: {residual}")


def _fix(scene: Scene, finding: Finding) -> Fix:
    endpoint = scene.world.registry.webhooks.endpoints[finding.subject.ref]
    inbound = endpoint.spec.inbound
    assert inbound is not None
    if inbound.scheme is SchemeName.GITLAB_TOKEN:
        change = {"scheme": "GitLab", "acceptUnsigned": None, "secretRef": None}
        step = "Set the signing token in GitLab to the value in the Secret that Troth creates."
        return Fix(patches=(Patch(finding.subject, {"spec": {"inbound": change}}),), steps=(step,))
    patch = Patch(finding.subject, {"spec": {"inbound": {"replayWindow": "720h"}}})
    if inbound.scheme is SchemeName.HMAC:
        step = (
            "If the sender signs a timestamp, describe it with {timestamp} in hmac.signed and with "
            "hmac.timestampHeader; then no longer window is needed."
        )
        return Fix(patches=(patch,), steps=(step,))
    return Fix(patches=(patch,))


RULE = Rule(
    id="TR202",
    name="ReplayableScheme",
    title="A WebhookEndpoint uses a scheme that signs no timestamp.",
    severity=Severity.LOW,
    reads=frozenset({"WebhookEndpoint"}),
    find=_find,
    fix=_fix,
)
