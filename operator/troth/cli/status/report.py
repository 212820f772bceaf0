"""The report of `troth status`."""

from troth.cli.status.models import (
    BrokerSummary,
    DomainSummary,
    IdentitySummary,
    PolicySummary,
    RotationSummary,
)
from troth.cli.status.webhook_models import EndpointSummary
from troth.resources.schema.model import Model


class Report(Model):
    """The state of all requested resources, by kind."""

    trust_domains: tuple[DomainSummary, ...]
    message_brokers: tuple[BrokerSummary, ...] = ()
    credential_rotations: tuple[RotationSummary, ...]
    service_identities: tuple[IdentitySummary, ...]
    topic_policies: tuple[PolicySummary, ...] = ()
    webhook_endpoints: tuple[EndpointSummary, ...] = ()
    hidden: tuple[str, ...]
    """Kinds that the user may not list, or not in all namespaces."""
