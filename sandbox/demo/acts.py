"""What is shown of the shop once Troth runs."""

from collections.abc import Callable, Sequence

from sandbox.demo.broker_act import show_messages
from sandbox.demo.cast import PAYMENTS
from sandbox.demo.choosing import Setting
from sandbox.demo.cluster import Cluster, Standing
from sandbox.demo.errors import DemoError
from sandbox.demo.fleet import PROPAGATION, SERVICES, Fleet
from sandbox.demo.judging import Result, judge
from sandbox.demo.operating import LEASE, NAMESPACE
from sandbox.demo.pods import Pods
from sandbox.demo.policies import summaries
from sandbox.demo.processes import LocalProcesses
from sandbox.demo.rotating import replace_root
from sandbox.demo.sampling import sampled
from sandbox.demo.screen import Screen
from sandbox.demo.shop import Declared, Place, Shop
from sandbox.demo.tampering import tamper
from sandbox.demo.token_act import show_tokens
from sandbox.demo.trials import Trial, Trials
from sandbox.demo.webhook_act import show_webhooks
from sandbox.processes import Tether

AUTHORITY = Place(NAMESPACE, "production-authority")

Workloads = Pods | LocalProcesses


def perform(
    screen: Screen,
    cluster: Cluster,
    tether: Tether,
    setting: Setting,
    crash: Callable[[], None],
) -> bool:
    """Apply the shop and prove it; return whether all was as declared.

    `crash` kills the operator and starts another.
    """
    shop = Shop.read()
    with screen.step("shop") as say:
        cluster.sandbox.kubectl("apply", "-f", "-", stdin=shop.text())
        say(f"kubectl apply -f examples/shop: {len(shop.manifests)} objects")
    with screen.progress("identities") as (progress, say):
        standing = cluster.settled(shop, progress)
        say(
            f"{len(standing.resources)} resources ready: keys, certificates, bundles, "
            "NetworkPolicies"
        )
    secrets = cluster.secrets()
    workloads: Workloads = (
        Pods(cluster, shop) if setting.tier.has_node else LocalProcesses(tether, shop)
    )
    with screen.step("workloads") as say:
        say(workloads.start(secrets))
    trials = Trials(shop, standing, secrets)
    good = _try(screen, cluster, workloads, trials)
    if not workloads.filtered:
        _show_policies(screen, cluster, shop)
    _show_waiting(screen, shop, standing)
    good = _edit(screen, cluster, workloads, trials) and good
    good = show_tokens(screen, cluster, tether, shop) and good
    good = show_messages(screen, cluster, tether, setting.broker) and good
    good = show_webhooks(screen, cluster, tether) and good
    if not workloads.filtered:
        screen.say("\nThe last act, a root that is replaced under traffic, needs a node.")
        return good
    return _replace_root(screen, cluster, shop, crash) and good


def _try(screen: Screen, cluster: Cluster, workloads: Workloads, trials: Trials) -> bool:
    """Try what is declared, what is not, and attacks; return whether all was as it must be."""
    tried = [*trials.declared(), *trials.undeclared()]
    results = _judged(workloads, tried)
    others = _judged(workloads, list(trials.others(tried)))
    screen.title("Who may call whom, and what became of the call at each layer")
    screen.results(results, others, filtered=workloads.filtered)
    attacks = _judged(workloads, list(trials.attacks(cluster.secret(AUTHORITY))))
    screen.title("Attacks on an open edge, and why the handshake refuses them")
    screen.results(attacks, filtered=workloads.filtered, heading="certificate shown")
    return not any(result.is_wrong for result in (*results, *others, *attacks))


def _judged(workloads: Workloads, trials: Sequence[Trial]) -> list[Result]:
    possible = [each for each in trials if workloads.filtered or not each.needs_filter]
    return [
        judge(trial, outcome, filtered=workloads.filtered)
        for trial, outcome in zip(possible, workloads.attempt(possible), strict=True)
    ]


def _show_policies(screen: Screen, cluster: Cluster, shop: Shop) -> None:
    screen.title("The NetworkPolicies in words, as the API server has them; all else is denied")
    policies = cluster.items(
        *("networkpolicies", "--all-namespaces", "--selector"),
        "app.kubernetes.io/managed-by=troth",
    )
    observed = [
        place
        for place, manifest in shop.identities.items()
        if manifest["spec"].get("enforcement") == "Observe"
    ]
    found = list(summaries(shop, policies))
    if {summary.workload for summary in found} != set(shop.identities) - set(observed):
        raise DemoError("not every identity that is enforced has a NetworkPolicy, or too many have")
    screen.policies(found, observed)


def _show_waiting(screen: Screen, shop: Shop, standing: Standing) -> None:
    screen.title("What waits for somebody, in the words of its status")
    waiting = standing.waiting()
    for place, entry in waiting:
        screen.waiting(place, entry["peer"], entry["state"], entry["message"])
    told = {
        Declared(place, Place.parse(entry["peer"]), port)
        for place, entry in waiting
        for port in entry["ports"]
        if entry["state"] == "AwaitingCallee"
    }
    if told != set(shop.called()) - set(shop.agreed()):
        raise DemoError("what waits is not just what callers alone declare")


def _edit(screen: Screen, cluster: Cluster, workloads: Workloads, trials: Trials) -> bool:
    """Open payments by hand, if possible while a stranger calls it; return whether none got in."""
    if isinstance(workloads, LocalProcesses):
        screen.title("Edited by hand, and put right")
        screen.repair(tamper(cluster, PAYMENTS))
        return True
    screen.title("Edited by hand, and put right, while somebody tries to get in")
    stranger = trials.stranger(PAYMENTS, "no identity")
    with sampled(lambda: workloads.call(stranger)) as samples:
        repair = tamper(cluster, PAYMENTS)
        workloads.node.caught_up()
    screen.repair(repair)
    meanwhile = [judge(stranger, each, filtered=False) for each in samples.passed]
    after = judge(stranger, workloads.call(stranger), filtered=True)
    screen.samples(stranger, samples, meanwhile)
    screen.afterwards(after)
    return not any(result.is_wrong for result in (*meanwhile, after))


def _replace_root(screen: Screen, cluster: Cluster, shop: Shop, crash: Callable[[], None]) -> bool:
    """Replace the root of services that talk all the time; return whether nobody noticed."""
    screen.title("A root is replaced while everybody talks, and the operator is killed meanwhile")
    fleet = Fleet(cluster)
    with screen.step("fleet") as say:
        fleet.start(shop)
        say(
            f"{SERVICES} services, each calling the next; bundle.propagation is "
            f"{PROPAGATION.seconds}s, not 3m"
        )

    def crash_in_words() -> None:
        screen.crash(LEASE)
        crash()

    replacement = replace_root(cluster, fleet, screen.span, crash_in_words)
    screen.replacement(replacement)
    return not replacement.is_wrong
