"""Spec of `WebhookEndpoint`: one webhook, its signatures and its target."""

from functools import cached_property
from typing import ClassVar, Literal

from troth.resources.metadata import Resource
from troth.resources.references import Ref
from troth.resources.schema.model import Model, exactly_one
from troth.resources.schema.rules import Rule
from troth.resources.webhooks.endpoint_status import WebhookEndpointStatus
from troth.resources.webhooks.inbound import Inbound
from troth.resources.webhooks.outbound import Outbound


class WebhookEndpointSpec(Model):
    """Desired state of an endpoint. Set exactly one of inbound and outbound."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "inbound",
            "outbound",
            message="set exactly one of inbound (deliveries to this cluster) and outbound "
            "(deliveries to a destination elsewhere)",
        ),
    )

    inbound: Inbound | None = None
    """Inbound webhook. A gateway verifies its deliveries and forwards only valid ones."""
    outbound: Outbound | None = None
    """Outbound webhook. Troth sends nothing yet."""


class WebhookEndpoint(Resource):
    """Webhook: how its deliveries are signed, and where they go."""

    kind: Literal["WebhookEndpoint"] = "WebhookEndpoint"
    spec: WebhookEndpointSpec
    status: WebhookEndpointStatus = WebhookEndpointStatus()

    @cached_property
    def ref(self) -> Ref:
        """Namespace and name of the endpoint."""
        return Ref(self.metadata.namespace or "default", self.metadata.name)

    @cached_property
    def gateway(self) -> Ref | None:
        """ServiceIdentity of the gateway, None for an outbound webhook."""
        inbound = self.spec.inbound
        return None if inbound is None else inbound.gateway.seen_from(self.ref.namespace)

    @cached_property
    def target(self) -> Ref | None:
        """ServiceIdentity of the target, None for an outbound webhook."""
        inbound = self.spec.inbound
        return None if inbound is None else Ref(self.ref.namespace, inbound.target.identity.name)

    @cached_property
    def given_secret(self) -> Ref | None:
        """Secret in `secretRef`, None if Troth creates it or the scheme needs none."""
        inbound = self.spec.inbound
        if inbound is None or inbound.secret_ref is None:
            return None
        return Ref(self.ref.namespace, inbound.secret_ref.name)

    @property
    def path(self) -> str:
        """Path at which the gateway serves the endpoint. No namespace can take another's path."""
        return f"/{self.ref.namespace}/{self.ref.name}"
