"""What several parts of an endpoint's plan need, each judged once."""

from functools import cached_property

from troth.planning.webhooks.keys import EndpointKeys, plan_keys
from troth.planning.webhooks.reach import (
    GATEWAY_CHECKS,
    KEPT,
    UNSERVED,
    TargetState,
    first_fault,
    plan_reach,
)
from troth.planning.webhooks.rotation import SecretRotation, plan_secret
from troth.planning.webhooks.view import WebhookView
from troth.world.facts.objects import Fault


class JudgedEndpoint:
    """An endpoint, with what its parts share.

    If one of the properties raises an exception, it does so for each part that needs it.
    """

    def __init__(self, view: WebhookView) -> None:
        self.view = view

    @cached_property
    def keys(self) -> EndpointKeys:
        """The keys that the gateway tries."""
        return plan_keys(self.view)

    @cached_property
    def rotation(self) -> SecretRotation:
        """The state of the rotation of the endpoint's secret."""
        return plan_secret(self.view)

    @cached_property
    def gateway_fault(self) -> Fault | None:
        """Why the gateway does not get the endpoint, None if it does."""
        return first_fault(self.view, GATEWAY_CHECKS)

    @cached_property
    def target(self) -> TargetState:
        """The target to which the gateway forwards deliveries, or the obstacle."""
        return plan_reach(self.view, at_gateway=self._is_at_gateway)

    @property
    def can_verify(self) -> bool:
        """Whether the gateway has a key to verify deliveries with, or needs none."""
        return bool(self.keys.keys) or self.view.needs_no_key

    @property
    def _is_at_gateway(self) -> bool:
        """Whether the gateway has the endpoint, or is about to get it."""
        fault = self.gateway_fault
        if fault is not None and fault.reason in UNSERVED:
            return False
        may_begin = fault is None or fault.reason not in KEPT
        return self.view.compiled is not None or (may_begin and self.can_verify)
