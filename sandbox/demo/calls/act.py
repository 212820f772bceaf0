"""The calls act: declared and undeclared calls, attacks, and a NetworkPolicy edited by hand."""

from collections.abc import Iterable

from sandbox.demo.calls import outcomes
from sandbox.demo.calls.drift import Restoration, edit_by_hand
from sandbox.demo.calls.pods import Pods
from sandbox.demo.calls.policies import Summary, isolations, summaries
from sandbox.demo.calls.processes import LocalProcesses
from sandbox.demo.calls.sampling import Samples, sampled
from sandbox.demo.calls.table import NO_CERTIFICATE, Call, Calls
from sandbox.demo.cast import PAYMENTS, between, short
from sandbox.demo.cluster import Cluster, Statuses
from sandbox.demo.errors import DemoError
from sandbox.demo.namespaces import shown
from sandbox.demo.programs import NAMESPACE
from sandbox.demo.screen import Screen
from sandbox.demo.shop import Edge, Manifest, Place, Shop
from sandbox.demo.trials import Observation, Result, over, run, summary
from sandbox.demo.webhooks.example import GATEWAY
from sandbox.node.workload import Outcome

AUTHORITY = Place(NAMESPACE, "production-authority")
ACCEPTED, SHOWN = "declared", "certificate"

Workloads = Pods | LocalProcesses


def show_calls(
    screen: Screen, cluster: Cluster, shop: Shop, statuses: Statuses, workloads: Workloads
) -> bool:
    """Show calls, policies and waiting edges; return whether all is as declared."""
    calls = Calls(shop, statuses, cluster.secrets())
    tried = [*calls.declared(), *calls.undeclared()]
    rows = _run(workloads, tried)
    if others := _run(workloads, calls.others(tried)):
        rows += summary("every other pair", others)
    filtered = workloads.filtered
    screen.title("Calls: only edges that both sides declare are open")
    right = screen.trials(rows, *outcomes.headings(ACCEPTED, filtered=filtered))
    attacks = _run(workloads, calls.attacks(cluster.secret(AUTHORITY)))
    screen.title("Attacks on an open edge: the TLS handshake rejects them")
    right = screen.trials(attacks, *outcomes.headings(SHOWN, filtered=filtered)) and right
    if not filtered:
        _show_policies(screen, cluster, shop)
    _show_waiting(screen, shop, statuses)
    return (
        _show_drift(screen, cluster, workloads, calls.stranger(PAYMENTS, "no identity")) and right
    )


def _run(workloads: Workloads, calls: Iterable[Call]) -> list[Result]:
    filtered = workloads.filtered
    possible = (each for each in calls if filtered or not each.needs_filter)
    return run(outcomes.trial(each, workloads.call, filtered=filtered) for each in possible)


def _show_policies(screen: Screen, cluster: Cluster, shop: Shop) -> None:
    screen.title("NetworkPolicies, as the API server has them: everything else is denied")
    observed = [place for place in shop.identities if not shop.is_enforced(place)]
    found = list(summaries(shop, _policies(cluster, "ServiceIdentity")))
    if {summary.workload for summary in found} != set(shop.identities) - set(observed):
        raise DemoError("the NetworkPolicies are not exactly those of the enforced identities")
    isolation = {*shop.isolated(), GATEWAY.namespace}
    isolated = list(isolations(shop, _policies(cluster, "TrustDomain")))
    if {summary.workload.namespace for summary in isolated} != isolation:
        raise DemoError(f"the isolated namespaces are not exactly {', '.join(sorted(isolation))}")
    rows = [_row(short(each.workload), each) for each in found]
    rows += [_row(f"other pods of {shown(each.workload.namespace)}", each) for each in isolated]
    rows += [(short(place), "enforcement: Observe, so no policy yet", "") for place in observed]
    screen.table(rows, "workload", "may be called by", "may call")


def _policies(cluster: Cluster, owner_kind: str) -> list[Manifest]:
    selector = f"app.kubernetes.io/managed-by=troth,troth.dev/owner-kind={owner_kind}"
    return cluster.items("networkpolicies", "--all-namespaces", "--selector", selector)


def _row(name: str, each: Summary) -> tuple[str, str, str]:
    inbound, outbound = (", ".join(side) or "nobody" for side in (each.inbound, each.outbound))
    return name, inbound, outbound


def _show_waiting(screen: Screen, shop: Shop, statuses: Statuses) -> None:
    screen.title("Edges that only the caller declares: the status names the missing side")
    waiting = statuses.waiting()
    for place, entry in waiting:
        screen.say(
            f"[yellow]…[/] {between(place, Place.parse(entry['peer']))}  [bold]{entry['state']}[/]:"
        )
        screen.explain(entry["message"])
    found = {
        Edge(place, Place.parse(entry["peer"]), port)
        for place, entry in waiting
        for port in entry["ports"]
        if entry["state"] == "AwaitingCallee"
    }
    if found != set(shop.called()) - set(shop.agreed()):
        raise DemoError("the waiting edges are not exactly those that only callers declare")


def _show_drift(screen: Screen, cluster: Cluster, workloads: Workloads, stranger: Call) -> bool:
    """Open payments' policy by hand, with packets while a stranger calls; show what happens."""
    screen.title("Drift: a NetworkPolicy is edited by hand, and Troth restores it")
    if isinstance(workloads, LocalProcesses):
        rows = [_restored(edit_by_hand(cluster, PAYMENTS))]
    else:
        with sampled(lambda: workloads.call(stranger)) as samples:
            restoration = edit_by_hand(cluster, PAYMENTS)
            workloads.node.caught_up()
        rows = [
            _restored(restoration),
            _meanwhile(stranger, samples),
            _afterwards(stranger, workloads.call(stranger)),
        ]
    return screen.trials(rows, "who", "what it does", "outcome")


def _restored(found: Restoration) -> Result:
    cell = f"restored after {found.milliseconds:.0f} ms"
    return over(
        *("somebody", f"opens {shown(str(found.policy))} to all"),
        Observation({}, (cell,), f"Event: {found.message}"),
    )


def _meanwhile(call: Call, samples: Samples) -> Result:
    rejected = {"layer": "handshake", "reason": NO_CERTIFICATE.words}
    passed = [outcomes.observed(call, each, filtered=False).facts for each in samples.passed]
    wrong = [each for each in passed if not rejected.items() <= each.items()]
    counts = f"{samples.rejected} rejected by packet filter"
    if passed:
        counts += f", {len(passed)} by TLS"
    if samples.lost:
        counts += f", {samples.lost} unanswered"
    quote = f"Packets passed for {samples.milliseconds:.0f} ms." if passed else ""
    return over(
        between(call.caller, call.callee),
        f"makes {len(samples.outcomes)} calls meanwhile",
        Observation({"accepted": wrong}, (counts,), quote),
        accepted=[],
    )


def _afterwards(call: Call, outcome: Outcome) -> Result:
    return over(
        between(call.caller, call.callee),
        "calls again afterwards",
        outcomes.observed(call, outcome, filtered=True)._replace(
            cells=(outcomes.packets(outcome),)
        ),
        **outcomes.expected(call, filtered=True),
    )
