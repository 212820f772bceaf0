"""Who calls, as a handler sees it: only what was verified.

What nobody vouched for is None. So the subject of a request without a transaction token is not its
workload: a handler that asks on whose behalf it acts must not be told "on the caller's own".
"""

from contextvars import ContextVar
from dataclasses import dataclass, field

from troth.edge.inbound.delivery import Delivery
from troth.edge.trace_context import TraceContext
from troth.pki.token_checks import TransactionToken

_TENANT = "tenant"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, verified.

    `workload` is the SPIFFE ID of the workload that calls, `scopes` what it may do here.
    `transaction` is on whose behalf it calls, None where it brought no transaction token;
    `forwarded_by` the SPIFFE ID of the gateway that vouches for the workload, None where it is
    itself at the other end. `trace` is the W3C trace the request belongs to; nobody vouches for it.
    `delivery` is the webhook's that a gateway hands on, None on ports that are not for webhooks.
    """

    workload: str
    scopes: frozenset[str]
    transaction: TransactionToken | None = None
    forwarded_by: str | None = None
    trace: TraceContext | None = field(default=None, repr=False)
    delivery: Delivery | None = None

    @property
    def subject(self) -> str | None:
        """On whose behalf the request is made, as the entrance vouched for it."""
        return self.transaction.subject if self.transaction else None

    @property
    def tenant(self) -> str | None:
        """The tenant the request is about."""
        return self.transaction.context.get(_TENANT) if self.transaction else None

    @property
    def request_id(self) -> str | None:
        """The UUID that the issuer gave the transaction, the same at every hop; of a webhook's
        delivery the one that its gateway gave it, which ends here.
        """
        if self.delivery is not None:
            return self.delivery.txn
        return self.transaction.transaction if self.transaction else None


CALLER: ContextVar[Caller | None] = ContextVar("troth_caller", default=None)
"""Who calls, for as long as a request is served; set by the middleware."""
