"""The report of `troth status`."""

from troth.cli.status.models import (
    BrokerSummary,
    DomainSummary,
    IdentitySummary,
    PolicySummary,
    RotationSummary,
    Summary,
)
from troth.cli.status.overview import Overview
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
    overview: Overview | None = None
    """None if the report is about one resource."""
    hidden: tuple[str, ...]
    """Kinds that the user may not list, or not in all namespaces."""

    @property
    def summaries(self) -> tuple[Summary, ...]:
        """All resources."""
        return (
            *self.trust_domains,
            *self.message_brokers,
            *self.credential_rotations,
            *self.service_identities,
            *self.topic_policies,
            *self.webhook_endpoints,
        )

    @property
    def all_ready(self) -> bool:
        """Whether every resource is ready, and no declared edge or grant is rejected."""
        ready = all(each.ready == "True" for each in self.summaries)
        return ready and not (self.overview and self.overview.rejected)
