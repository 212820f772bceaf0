"""Webhooks in a status report, read leniently: another version may have written the status."""

from troth.cli.status.models import Summary, exception, status_of
from troth.resources.manifests import Manifest
from troth.resources.schema.model import Model
from troth.resources.webhooks.endpoint_status import KeyState
from troth.resources.webhooks.outbound import OutboundScheme


class WebhookKeySummary(Model):
    """One of the sender's keys; a gateway tries all of them."""

    id: str
    fingerprint: str
    state: str
    last_verified: str | None = None
    """When a delivery was last verified with it; None if no gateway has reported one."""
    until: str | None = None
    """Earliest time of its removal; None if it stays."""


class EndpointSummary(Summary):
    """State of a WebhookEndpoint. An outbound one has no target and no workflow."""

    scheme: str
    """The sender's signature scheme."""
    url: str
    """The URL that the sender delivers to."""
    target: str | None = None
    """The ServiceIdentity that receives the deliveries."""
    port: str | None = None
    workflow: str | None = None
    keys: tuple[WebhookKeySummary, ...] = ()
    residual_replay: str = ""
    """The replays that remain possible after the replay window; empty until assessed."""


def endpoint_summary(endpoint: Manifest) -> EndpointSummary:
    """Return the state of a WebhookEndpoint."""
    spec, status = endpoint["spec"], status_of(endpoint)
    inbound = spec.get("inbound")
    if inbound is None:
        outbound = spec.get("outbound") or {}
        usual = OutboundScheme.STANDARD_WEBHOOKS.value
        return EndpointSummary.of(
            endpoint, scheme=outbound.get("scheme", usual), url=outbound.get("url", "")
        )
    target = inbound["target"]
    return EndpointSummary.of(
        endpoint,
        scheme=inbound.get("scheme", ""),
        url=inbound["publicURL"],
        excepted=exception(endpoint, inbound.get("acceptUnsigned"), "UnsignedAccepted"),
        target=f"{endpoint['metadata'].get('namespace')}/{target['identity']['name']}",
        port=target["port"],
        workflow=target["workflow"],
        keys=tuple(
            WebhookKeySummary(
                id=each["id"],
                fingerprint=each.get("fingerprint", ""),
                state=each.get("state", KeyState.CURRENT.value),
                last_verified=each.get("lastVerified"),
                until=each.get("until"),
            )
            for each in status.get("keys") or []
        ),
        residual_replay=status.get("residualReplay", ""),
    )
