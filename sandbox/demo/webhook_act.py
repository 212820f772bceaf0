"""The act about webhooks: what the gateway lets through, what it refuses, and when a key counts."""

from contextlib import ExitStack

from sandbox.demo import webhook_screen
from sandbox.demo.cluster import Cluster
from sandbox.demo.screen import Screen
from sandbox.demo.webhook_stage import opened
from sandbox.demo.webhook_trials import deliveries, past_the_gateway, turn
from sandbox.processes import Tether
from sandbox.valkey import ValkeyServer


def show_webhooks(screen: Screen, cluster: Cluster, tether: Tether) -> bool:
    """Show deliveries, and what passes for one; return whether all was right.

    Afterwards nothing of it is left in the cluster.
    """
    screen.title("Webhooks: what the gateway lets through, and the line that it writes of each")
    with ExitStack() as stack:
        with screen.step("gateway, target") as say:
            store = stack.enter_context(ValkeyServer.serving())
            stage = stack.enter_context(opened(cluster, tether, store))
            say("`troth gateway` with the chart's rights; its Valkey; troth.edge")
        tried = list(deliveries(stage))
        webhook_screen.deliveries(screen, tried)
        screen.title("Past the gateway, and why troth.edge refuses it")
        passed = list(past_the_gateway(stage))
        webhook_screen.passed(screen, passed)
        screen.title("A sender's second key, and how soon it counts")
        turned = turn(stage)
        webhook_screen.turned(screen, turned.new.attempt.endpoint, turned)
    wrong = any(each.is_wrong for each in tried) or any(each.is_wrong for each in passed)
    return not (wrong or turned.is_wrong)
