"""The report of `troth status`."""

from troth.cli.status.models import (
    BrokerStanding,
    DomainStanding,
    IdentityStanding,
    PolicyStanding,
    RotationStanding,
)
from troth.cli.status.webhook_models import EndpointStanding
from troth.resources.schema.model import Model


class Report(Model):
    """The state of all requested resources, by kind."""

    trust_domains: tuple[DomainStanding, ...]
    message_brokers: tuple[BrokerStanding, ...] = ()
    credential_rotations: tuple[RotationStanding, ...]
    service_identities: tuple[IdentityStanding, ...]
    topic_policies: tuple[PolicyStanding, ...] = ()
    webhook_endpoints: tuple[EndpointStanding, ...] = ()
    hidden: tuple[str, ...]
    """Kinds that the user may not list, or not in all namespaces."""
