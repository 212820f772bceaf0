"""The verified caller, as a handler gets it.

Unverified attributes are None. A request without a transaction token therefore has no subject: its
workload is not the subject, and a handler must not assume that the caller acts on its own behalf.
"""

from contextvars import ContextVar
from dataclasses import dataclass, field

from troth.edge.inbound.delivery import Delivery
from troth.edge.trace_context import TraceContext
from troth.pki.tokens.checks import TransactionToken

_TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Caller:
    """Verified caller.

    `workload` is the SPIFFE ID of the calling workload, and `scopes` are its scopes here.
    `transaction` is its transaction token, None if it sent none. `forwarded_by` is the SPIFFE ID of
    the gateway that vouches for the workload, None if the workload itself is the peer. `trace` is
    the request's W3C trace, which is unverified. `delivery` is the webhook delivery, on ports for
    webhooks only.
    """

    workload: str
    scopes: frozenset[str]
    transaction: TransactionToken | None = None
    forwarded_by: str | None = None
    trace: TraceContext | None = field(default=None, repr=False)
    delivery: Delivery | None = None

    @property
    def subject(self) -> str | None:
        """Subject of the transaction, as the workload that started it authenticated the subject."""
        return self.transaction.subject if self.transaction else None

    @property
    def tenant(self) -> str | None:
        """Tenant of the transaction."""
        return self.transaction.context.get(_TENANT) if self.transaction else None

    @property
    def request_id(self) -> str | None:
        """UUID that the issuer gave the transaction, the same at every hop.

        For a webhook delivery, it is the UUID from its gateway, which is not propagated.
        """
        if self.delivery is not None:
            return self.delivery.txn
        return self.transaction.transaction if self.transaction else None


CALLER: ContextVar[Caller | None] = ContextVar("troth_caller", default=None)
"""The caller while a request is served, set by the middleware."""
