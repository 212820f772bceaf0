"""Where webhooks stand: read from statuses as they are, also those of another version."""

from troth.cli.status.models import Standing, exception, status_of
from troth.resources.manifests import Manifest
from troth.resources.schema.model import Model
from troth.resources.webhooks.endpoint_status import KeyState
from troth.resources.webhooks.outbound import OutboundScheme


class WebhookKeyStanding(Model):
    """One of the sender's keys, all of which are tried."""

    id: str
    fingerprint: str
    state: str
    last_verified: str | None = None
    """When a delivery was last verified with it; None where no gateway has reported one."""
    until: str | None = None
    """When it is dropped, at the earliest; None for one that stays."""


class EndpointStanding(Standing):
    """A WebhookEndpoint. Of what goes out there is no target in the cluster, and no workflow."""

    scheme: str
    """How the sender signs."""
    url: str
    """To where the sender delivers."""
    target: str | None = None
    """The ServiceIdentity that is given the deliveries."""
    port: str | None = None
    workflow: str | None = None
    keys: tuple[WebhookKeyStanding, ...] = ()
    residual_replay: str = ""
    """What a recorded delivery is good for once it is forgotten; empty where nobody has judged."""


def endpoint_standing(endpoint: Manifest) -> EndpointStanding:
    """Return where a WebhookEndpoint stands."""
    spec, status = endpoint["spec"], status_of(endpoint)
    inbound = spec.get("inbound")
    if inbound is None:
        outbound = spec.get("outbound") or {}
        usual = OutboundScheme.STANDARD_WEBHOOKS.value
        return EndpointStanding.of(
            endpoint, scheme=outbound.get("scheme", usual), url=outbound.get("url", "")
        )
    target = inbound["target"]
    return EndpointStanding.of(
        endpoint,
        scheme=inbound.get("scheme", ""),
        url=inbound["publicURL"],
        excepted=exception(endpoint, inbound.get("acceptUnsigned"), "UnsignedAccepted"),
        target=f"{endpoint['metadata'].get('namespace')}/{target['identity']['name']}",
        port=target["port"],
        workflow=target["workflow"],
        keys=tuple(
            WebhookKeyStanding(
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
