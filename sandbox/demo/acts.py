"""The demo's acts."""

from collections.abc import Callable

from sandbox.demo.calls.act import Workloads, show_calls
from sandbox.demo.calls.pods import Pods
from sandbox.demo.calls.processes import LocalProcesses
from sandbox.demo.cluster import Cluster
from sandbox.demo.events.act import show_events
from sandbox.demo.messages.act import show_messages
from sandbox.demo.namespaces import applied
from sandbox.demo.rotation.act import show_rotation
from sandbox.demo.screen import Screen
from sandbox.demo.setting import Act, Setting
from sandbox.demo.shop import Shop
from sandbox.demo.tokens.act import show_tokens
from sandbox.demo.webhooks.act import show_webhooks
from sandbox.processes import Tether


def show_acts(
    screen: Screen,
    cluster: Cluster,
    tether: Tether,
    setting: Setting,
    crash: Callable[[], None],
) -> bool:
    """Apply the shop and run the setting's acts; return whether all trials are right.

    `crash` kills the operator and starts another.
    """
    shop = Shop.read()
    with screen.step("shop") as say:
        cluster.sandbox.kubectl("apply", "-f", "-", stdin=shop.text())
        say(f"{applied('examples/shop')}: {len(shop.manifests)} objects")
    with screen.progress("identities") as (progress, say):
        statuses = cluster.settled(shop, progress)
        say(
            f"{len(statuses.resources)} resources ready: keys, certificates, bundles, "
            "NetworkPolicies"
        )

    def calls() -> bool:
        workloads: Workloads = (
            Pods(cluster, shop) if setting.tier.has_node else LocalProcesses(tether, shop)
        )
        with screen.step("workloads") as say:
            say(workloads.start(cluster.secrets()))
        return show_calls(screen, cluster, shop, statuses, workloads)

    acts: dict[Act, Callable[[], bool]] = {
        Act.CALLS: calls,
        Act.TOKENS: lambda: show_tokens(screen, cluster, tether, shop),
        Act.MESSAGES: lambda: show_messages(screen, cluster, tether, setting.broker),
        Act.EVENTS: lambda: show_events(screen, cluster, tether, setting.broker),
        Act.WEBHOOKS: lambda: show_webhooks(screen, cluster, tether),
        Act.ROTATION: lambda: show_rotation(screen, cluster, shop, crash),
    }
    right = [show() for act, show in acts.items() if act in setting.acts]
    return all(right)
