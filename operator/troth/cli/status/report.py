"""What `troth status` tells: of each kind everything that was asked about."""

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
    """Everything that was asked about."""

    trust_domains: tuple[DomainStanding, ...]
    message_brokers: tuple[BrokerStanding, ...] = ()
    credential_rotations: tuple[RotationStanding, ...]
    service_identities: tuple[IdentityStanding, ...]
    topic_policies: tuple[PolicyStanding, ...] = ()
    webhook_endpoints: tuple[EndpointStanding, ...] = ()
    hidden: tuple[str, ...]
    """The kinds that the person may not see, or not in every namespace."""
