"""The demo's acts, in order."""

from collections.abc import Callable

from sandbox.demo.calls.act import Workloads, show_calls
from sandbox.demo.calls.pods import Pods
from sandbox.demo.calls.processes import LocalProcesses
from sandbox.demo.cluster import Cluster
from sandbox.demo.messages.act import show_messages
from sandbox.demo.rotation.act import show_rotation
from sandbox.demo.screen import Screen
from sandbox.demo.setting import Setting
from sandbox.demo.shop import Shop
from sandbox.demo.tokens.act import show_tokens
from sandbox.demo.webhooks.act import show_webhooks
from sandbox.processes import Tether


def show_all(
    screen: Screen,
    cluster: Cluster,
    tether: Tether,
    setting: Setting,
    crash: Callable[[], None],
) -> bool:
    """Apply the shop and run all trials; return whether all are right.

    `crash` kills the operator and starts another.
    """
    shop = Shop.read()
    with screen.step("shop") as say:
        cluster.sandbox.kubectl("apply", "-f", "-", stdin=shop.text())
        say(f"kubectl apply -f examples/shop: {len(shop.manifests)} objects")
    with screen.progress("identities") as (progress, say):
        statuses = cluster.settled(shop, progress)
        say(
            f"{len(statuses.resources)} resources ready: keys, certificates, bundles, "
            "NetworkPolicies"
        )
    workloads: Workloads = (
        Pods(cluster, shop) if setting.tier.has_node else LocalProcesses(tether, shop)
    )
    with screen.step("workloads") as say:
        say(workloads.start(cluster.secrets()))
    right = [
        show_calls(screen, cluster, shop, statuses, workloads),
        show_tokens(screen, cluster, tether, shop),
        show_messages(screen, cluster, tether, setting.broker),
        show_webhooks(screen, cluster, tether),
    ]
    if setting.tier.has_node:
        right.append(show_rotation(screen, cluster, shop, crash))
    else:
        screen.say("\nThe rotation of a root under traffic needs a node, so it is left out.")
    return all(right)
