"""`WebhookEndpoint`: one webhook, how it is signed, and to whom its deliveries go."""

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
    """What an endpoint is; exactly one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "inbound",
            "outbound",
            message="choose exactly one direction: inbound, what a sender delivers here, or "
            "outbound, what is delivered elsewhere",
        ),
    )

    inbound: Inbound | None = None
    """A webhook that comes in by a gateway, which lets through what is verified."""
    outbound: Outbound | None = None
    """A webhook that goes out; nothing is sent yet."""


class WebhookEndpoint(Resource):
    """One webhook: how it is signed, and to whom its deliveries go."""

    kind: Literal["WebhookEndpoint"] = "WebhookEndpoint"
    spec: WebhookEndpointSpec
    status: WebhookEndpointStatus = WebhookEndpointStatus()

    @cached_property
    def ref(self) -> Ref:
        """Where the endpoint is declared."""
        return Ref(self.metadata.namespace or "default", self.metadata.name)

    @cached_property
    def gateway(self) -> Ref | None:
        """The gateway's ServiceIdentity, None for what goes out."""
        inbound = self.spec.inbound
        return None if inbound is None else inbound.gateway.seen_from(self.ref.namespace)

    @cached_property
    def target(self) -> Ref | None:
        """The target's ServiceIdentity, None for what goes out."""
        inbound = self.spec.inbound
        return None if inbound is None else Ref(self.ref.namespace, inbound.target.identity.name)

    @cached_property
    def given_secret(self) -> Ref | None:
        """The Secret that a person has named, None where Troth makes it or none is needed."""
        inbound = self.spec.inbound
        if inbound is None or inbound.secret_ref is None:
            return None
        return Ref(self.ref.namespace, inbound.secret_ref.name)

    @property
    def path(self) -> str:
        """The path at which the gateway serves it: nobody can take another namespace's."""
        return f"/{self.ref.namespace}/{self.ref.name}"
