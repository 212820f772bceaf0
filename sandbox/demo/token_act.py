"""The act about tokens: an order goes through three services, then others try to pass for it."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from sandbox.demo import token_screen
from sandbox.demo.chain import opened
from sandbox.demo.cluster import Cluster
from sandbox.demo.errors import DemoError
from sandbox.demo.issuing import KEYS
from sandbox.demo.operating import NAMESPACE
from sandbox.demo.revoking import revoke
from sandbox.demo.screen import Screen
from sandbox.demo.shop import Place, Shop
from sandbox.demo.token_trials import attempts, order
from sandbox.processes import Tether
from troth.edge.outbound.exchange import ExchangeFailedError


def show_tokens(screen: Screen, cluster: Cluster, tether: Tether, shop: Shop) -> bool:
    """Show what tokens say, what is refused, what is taken back; return whether all was right."""
    screen.title("On whose behalf: one order, and what tokens tell each service of it")
    with ExitStack() as stack, _issuing():
        with screen.step("issuer, services") as say:
            chain = stack.enter_context(opened(cluster, tether))
            say("`troth issue` with the chart's rights; three services with troth.edge")
        screen.say(
            "  alice, of the tenant acme, orders at checkout; payments narrows the transaction and "
            "calls on."
        )
        passed = order(chain)
        token_screen.hops(screen, passed)
        screen.title("Attacks with headers and tokens, and why troth.edge refuses them")
        tried = list(attempts(chain, cluster.secret(Place(NAMESPACE, KEYS))))
        token_screen.attempts(screen, tried)
        screen.title("An edge is taken back, and how soon that holds")
        revoked = revoke(cluster, chain, shop)
        token_screen.revocation(screen, revoked)
    told_wrong = any(each.is_wrong for each in passed)
    tried_wrong = any(each.is_wrong for each in tried)
    return not (told_wrong or tried_wrong or revoked.is_wrong)


@contextmanager
def _issuing() -> Iterator[None]:
    try:
        yield
    except ExchangeFailedError as error:
        raise DemoError(f"the issuer gives no token where it must: {error}") from error
