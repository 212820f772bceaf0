"""Restarts of programs that cannot reload: only when needed, in turn, one after the other.

Many of these tests begin with a new World, as after a restart of the operator: everything that it
needs is in the cluster.
"""

import copy
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests import builders
from tests.builders import (
    HOUR,
    NOW,
    OWN,
    Cluster,
    Manifest,
    authority_secret,
    domain,
    identity,
    key_of,
    namespace,
    plain,
    root,
    shop,
)
from tests.workloads import budget, rolled, workload
from troth.pki.bundles.trust_bundle import parse_bundle
from troth.pki.certificates.authorities import Authority
from troth.pki.certificates.leaf import renewal_spread, short
from troth.planning.certificates import view as certificates
from troth.planning.certificates.anchors import trusting
from troth.planning.certificates.rollouts import (
    Restarting,
    restarted_since,
    still_on_old_leaf,
    waiting_for_root,
)
from troth.planning.steps.certificates import IssueLeaf
from troth.planning.steps.objects import Restart
from troth.resources.references import Ref
from troth.resources.trust_domain.spec import TrustDomain
from troth.world.facts.objects import RESTARTED_WITH
from troth.world.index.workloads import Workloads
from troth.world.keys import domain_key
from troth.world.outcomes.writes import WriteRefused
from troth.world.reader import Reader
from troth.world.world import World

PROPAGATION = timedelta(minutes=3)
SECRET = "Secret", Ref("shop", "payments-identity")
PAYMENTS = "Deployment", Ref("shop", "payments")
LEDGER = "StatefulSet", Ref("shop", "ledger")
PRODUCTION = domain_key("production")
PLAIN = plain("production.example", "first")
SECOND_ROOT = root("production.example", "second")[0]


def restarting(*named: tuple[str, Ref], **more: Any) -> Manifest:
    """Return the identity of these tests, which has these workloads restarted."""
    listed = [{"kind": kind, "name": ref.name} for kind, ref in named or (PAYMENTS,)]
    return identity(onRotation={"restart": listed}, **more)


class Story:
    """A cluster with an identity that has its certificate, in which time can pass."""

    def __init__(self, *manifests: Manifest, enabled: bool = True) -> None:
        self.cluster = shop(*manifests)
        self.cluster.world.workloads.enabled = enabled
        self.cluster.settle()

    # Time

    def later(self, by: timedelta) -> "Story":
        self.cluster.now += by
        self.cluster.uptime += by.total_seconds()
        self.cluster.settle()
        return self

    def propagated(self) -> "Story":
        return self.later(PROPAGATION)

    def in_turn(self) -> "Story":
        """Wait until every identity has had its turn to restart for new roots."""
        return self.later(2 * PROPAGATION)

    def renewed(self) -> "Story":
        """Wait until the leaf is renewed."""
        before = self.leaf
        self.later(17 * HOUR)
        assert self.leaf != before
        return self

    def operator_restarted(self) -> "Story":
        enabled = self.cluster.world.workloads.enabled
        self.cluster.world = World(OWN, workloads=Workloads(enabled=enabled))
        for manifest in self.cluster.objects.values():
            self.cluster.world.observe(copy.deepcopy(manifest), uptime=0.0)
        self.cluster.settle()
        return self

    # Actors

    def put(self, *manifests: Manifest) -> "Story":
        for manifest in manifests:
            self.cluster.put(manifest)
        self.cluster.settle()
        return self

    def finish(self, *place: tuple[str, Ref], available: int = 2) -> "Story":
        """Complete the rollouts of workloads."""
        for each in place or (PAYMENTS,):
            self.put(rolled(self.cluster.objects[each], available=available))
        return self

    def prepare_root(self) -> "Story":
        """Add an upcoming root to the authority's Secret, which every reader then gets."""
        certificate, key = root("production.example", "second")
        made = copy.deepcopy(authority_secret())
        extra = builders.secret("x", next_crt=certificate, next_key=key.encode())["data"]
        made["data"] |= extra
        return self.put(made)

    # Results

    @property
    def leaf(self) -> str:
        found = self.cluster.world.secrets[SECRET[1]].leaf
        assert found is not None
        return short(found.fingerprint)

    @property
    def rolled_out(self) -> tuple[str, str]:
        found = self.cluster.condition(key_of(), "RolledOut")
        return found["status"], found["reason"]

    @property
    def message(self) -> str:
        return str(self.cluster.condition(key_of(), "RolledOut")["message"])

    def evidence(self, place: tuple[str, Ref] = PAYMENTS) -> str:
        template = self.cluster.objects[place]["spec"]["template"]["metadata"]
        return str(template.get("annotations", {}).get(RESTARTED_WITH, ""))

    def restarts(self, place: tuple[str, Ref] = PAYMENTS) -> int:
        """Return how often the spec of a workload was changed since its creation."""
        return int(self.cluster.objects[place]["metadata"]["generation"]) - 1


# Timing


def test_first_enrolment_restarts_nothing() -> None:
    story = Story(restarting(), workload()).in_turn().later(9 * HOUR)
    assert story.restarts() == 0
    assert story.rolled_out == ("True", "InUse")


def test_renewed_certificate_restarts_once_and_records_its_fingerprint() -> None:
    story = Story(restarting(), workload()).renewed().in_turn()
    assert story.restarts() == 1
    assert story.evidence().split()[0] == story.leaf
    assert story.rolled_out == ("False", "RollingOut")
    story.finish().later(3 * HOUR)
    assert story.restarts() == 1
    assert story.rolled_out == ("True", "InUse")


def test_workload_is_not_restarted_before_the_propagation_delay() -> None:
    story = Story(restarting(), workload()).renewed().in_turn().finish()
    story.renewed().later(PROPAGATION - timedelta(seconds=1))
    assert story.restarts() == 1
    assert story.rolled_out == ("False", "AwaitingTurn")
    assert story.message == (
        "Deployment shop/payments waits for its turn to be restarted for the certificate "
        f"{story.leaf}"
    )
    assert story.cluster.plan(key_of()).due == story.cluster.now + timedelta(seconds=1)
    story.later(timedelta(seconds=1))
    assert story.restarts() == 2


def test_jump_of_the_wall_clock_does_not_cause_an_early_restart() -> None:
    story = Story(restarting(), workload()).renewed().in_turn().finish().renewed()
    story.cluster.now += HOUR
    story.cluster.settle()
    assert story.rolled_out == ("False", "AwaitingTurn")
    assert story.restarts() == 1


def test_new_root_restarts_once_in_the_identitys_turn() -> None:
    story = Story(restarting(), workload()).renewed().in_turn().finish().prepare_root()
    uid = story.cluster.objects["ServiceIdentity", Ref("shop", "payments")]["metadata"]["uid"]
    turn = PROPAGATION * (1 + renewal_spread(uid))
    story.later(turn - timedelta(seconds=1))
    assert story.rolled_out == ("False", "AwaitingTurn")
    assert story.restarts() == 1
    story.later(timedelta(seconds=1))
    assert story.restarts() == 2
    assert len(story.evidence().split()[1].split(",")) == 2
    story.finish().in_turn()
    assert story.rolled_out == ("True", "InUse")


def test_plain_certificate_of_the_root_that_a_workload_read_restarts_nothing() -> None:
    """An older version wrote the confined one, below which the workload accepts the same leaves."""
    story = Story(restarting(), workload()).renewed().in_turn().finish()
    before, restarts = story.evidence(), story.restarts()
    confined, unconfined = (
        short(parse_bundle(pem.decode())[0])
        for pem in (root("production.example", "first", constrained=True)[0], PLAIN)
    )
    assert unconfined in before
    changed = copy.deepcopy(story.cluster.objects[PAYMENTS])
    template = changed["spec"]["template"]["metadata"]
    template["annotations"][RESTARTED_WITH] = before.replace(unconfined, confined)
    story.put(changed).finish().in_turn()
    assert story.rolled_out == ("True", "InUse")
    assert story.restarts() == restarts + 1, "the change above is the only one"
    assert confined in story.evidence()


def test_removed_root_restarts_nothing() -> None:
    story = Story(restarting(), workload()).prepare_root().in_turn().finish()
    assert story.restarts() == 1
    story.put(authority_secret()).in_turn()
    assert story.restarts() == 1
    assert story.rolled_out == ("True", "InUse")


def test_changed_peers_restart_nothing() -> None:
    story = Story(restarting(), workload()).renewed().in_turn().finish()
    accepting = restarting(ports=["https"], accepts=[builders.accept("web")])
    story.put(accepting, identity("web", calls=[builders.call("payments")])).in_turn()
    assert story.restarts() == 1


def test_nothing_is_restarted_for_a_certificate_due_for_renewal() -> None:
    story = Story(restarting(), workload()).renewed().in_turn().finish().renewed()
    story.cluster.now += 17 * HOUR
    story.cluster.uptime += 17 * 3600
    steps = {type(step) for step in story.cluster.plan(key_of()).steps}
    assert IssueLeaf in steps
    assert Restart not in steps


# Workloads that Troth never restarted


@pytest.mark.parametrize(
    ("after", "restarts"),
    [
        (-HOUR, 1),
        (timedelta(0), 1),
        (PROPAGATION - timedelta(seconds=1), 1),  # a kubelet may still have had the older Secret
        (PROPAGATION, 0),
    ],
)
def test_workload_made_after_the_last_replacement_is_not_restarted(
    after: timedelta, restarts: int
) -> None:
    story = Story(restarting()).renewed()
    made = story.cluster.now.replace(microsecond=0) + after
    story.put(workload(created=made)).in_turn()
    assert story.restarts() == restarts


def test_root_added_to_the_first_certificate_causes_a_restart() -> None:
    story = Story(restarting(), workload()).prepare_root().in_turn()
    assert story.restarts() == 1


@pytest.mark.parametrize("annotation", [None, "yesterday"])
def test_unknown_time_of_replacement_causes_a_restart(
    annotation: str | None,
) -> None:
    story = Story(restarting())
    secret = copy.deepcopy(story.cluster.objects[SECRET])
    secret["metadata"]["annotations"] = {"troth.dev/replaced-at": annotation} if annotation else {}
    story.put(secret, workload(created=NOW + HOUR)).in_turn()
    assert story.restarts() == 1


def test_reissue_of_a_deleted_secret_causes_a_restart() -> None:
    story = Story(restarting(), workload())
    story.cluster.drop(*SECRET)
    story.cluster.settle()
    assert story.in_turn().restarts() == 1


def test_keystores_do_not_hide_the_time_of_replacement() -> None:
    keystores = {"mtls": {"keystores": ["PKCS12"]}}
    story = Story(restarting(authentication=keystores), workload()).in_turn()
    assert story.restarts() == 0
    assert story.renewed().in_turn().restarts() == 1


# Restarts of the operator


def test_restarted_operator_restarts_nothing_again() -> None:
    story = Story(restarting(), workload()).renewed().in_turn().finish()
    story.operator_restarted().in_turn()
    assert story.restarts() == 1
    assert story.rolled_out == ("True", "InUse")


def test_restarted_operator_continues_the_rollout() -> None:
    story = Story(restarting(PAYMENTS, LEDGER), workload(), workload("ledger", "StatefulSet"))
    story.renewed().in_turn()
    assert (story.restarts(PAYMENTS), story.restarts(LEDGER)) == (1, 0)
    story.operator_restarted().in_turn()
    assert (story.restarts(PAYMENTS), story.restarts(LEDGER)) == (1, 0)
    story.finish(PAYMENTS).operator_restarted().in_turn().finish(LEDGER)
    assert (story.restarts(PAYMENTS), story.restarts(LEDGER)) == (1, 1)
    assert story.rolled_out == ("True", "InUse")


def test_renewal_during_a_downtime_causes_a_restart() -> None:
    story = Story(restarting(), workload())
    story.cluster.world.workloads.enabled = False
    story.renewed().renewed().operator_restarted()
    story.cluster.world.workloads.enabled = True
    assert story.operator_restarted().in_turn().restarts() == 1


# Order


def test_next_rollout_begins_only_after_the_previous_one_completes() -> None:
    story = Story(restarting(PAYMENTS, LEDGER), workload(), workload("ledger", "StatefulSet"))
    story.renewed().in_turn()
    for updated, available in ((0, 2), (1, 1), (2, 1)):
        story.put(rolled(story.cluster.objects[PAYMENTS], updated=updated, available=available))
        assert story.restarts(LEDGER) == 0
        assert story.message == (
            "Deployment shop/payments is being rolled out; 0 of 2 workloads run with the current "
            "certificate and roots"
        )
    story.finish(PAYMENTS)
    assert story.restarts(LEDGER) == 1
    assert story.message.startswith("StatefulSet shop/ledger is being rolled out; 1 of 2 workloads")


def test_unhealthy_workload_is_restarted_first() -> None:
    """Its certificate may be the cause, and nothing else should roll out at the same time."""
    story = Story(restarting(PAYMENTS, LEDGER), workload(), workload("ledger", "StatefulSet"))
    story.renewed().finish(LEDGER, available=1).in_turn()
    assert (story.restarts(PAYMENTS), story.restarts(LEDGER)) == (0, 1)


def test_workload_with_an_exhausted_budget_does_not_block_another() -> None:
    ledger = workload("ledger", "StatefulSet")
    web = identity(
        pods={"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]},
        onRotation={"restart": [{"kind": k, "name": ref.name} for k, ref in (PAYMENTS, LEDGER)]},
    )
    ledger["spec"]["template"]["metadata"]["labels"] = {"app": "b"}
    story = Story(web, workload(app="a"), ledger, budget("a")).renewed().in_turn()
    assert (story.restarts(PAYMENTS), story.restarts(LEDGER)) == (0, 1)
    story.finish(LEDGER)
    assert story.rolled_out == ("False", "BudgetAllowsNone")


def test_two_identities_do_not_wait_for_each_other() -> None:
    other = identity("web", onRotation={"restart": [{"kind": "Deployment", "name": "web"}]})
    story = Story(restarting(), other, workload(), workload("web", app="web"))
    story.renewed().in_turn()
    assert story.restarts(PAYMENTS) == story.restarts(("Deployment", Ref("shop", "web"))) == 1


# Budgets


def due_for_restart(*manifests: Manifest) -> Story:
    return Story(restarting(), workload(), *manifests).renewed().in_turn()


def test_exhausted_budget_blocks_with_a_message_until_it_allows_one() -> None:
    story = due_for_restart(budget())
    assert story.restarts() == 0
    assert story.rolled_out == ("False", "BudgetAllowsNone")
    assert story.message == (
        f"Deployment shop/payments waits to be restarted for the certificate {story.leaf}: "
        "PodDisruptionBudget shop/payments currently allows no disruption of its pods"
    )
    assert story.put(budget(allowed=1)).restarts() == 1


@pytest.mark.parametrize(
    ("protecting", "restarts"),
    [
        (budget(selector={}), 0),  # every pod of the namespace
        (budget(allowed=1, seen=False), 0),  # the API server would refuse an eviction too
        (budget(selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]}), 0),
        (budget("other"), 1),
        (budget(namespace="elsewhere"), 1),
    ],
    ids=["everything", "not seen yet", "an expression", "other pods", "another namespace"],
)
def test_only_a_budget_of_the_workloads_pods_counts(protecting: Manifest, restarts: int) -> None:
    assert due_for_restart(protecting).restarts() == restarts


def test_budget_without_selector_protects_nothing() -> None:
    nobody = budget()
    del nobody["spec"]["selector"]
    assert due_for_restart(nobody).restarts() == 1


def test_workload_without_pods_needs_no_budget() -> None:
    story = Story(restarting(), workload(replicas=0), budget()).renewed().in_turn()
    assert story.restarts() == 1


# Impossible restarts


def test_disabled_rollouts_name_the_chart_value_to_set() -> None:
    story = Story(restarting(), workload(), enabled=False).renewed().in_turn()
    assert story.restarts() == 0
    assert story.rolled_out == ("Unknown", "RolloutsDisabled")
    assert "set the chart value rollouts.enabled to true" in story.message


def test_missing_workload_is_reported_after_the_others_are_done() -> None:
    story = Story(restarting(PAYMENTS, LEDGER), workload()).renewed().in_turn()
    assert story.rolled_out == ("False", "RollingOut")
    story.finish()
    assert story.rolled_out == ("False", "WorkloadMissing")
    assert story.message == (
        "StatefulSet shop/ledger does not exist, so it is not restarted; create it, or remove "
        "the entry"
    )


def test_workload_that_is_being_deleted_counts_as_missing() -> None:
    going = workload()
    going["metadata"]["deletionTimestamp"] = builders.stamp(NOW)
    story = Story(restarting(), going).renewed().in_turn()
    assert story.restarts() == 0
    assert story.rolled_out == ("False", "WorkloadMissing")


def test_workload_of_other_pods_is_not_restarted() -> None:
    """Otherwise anybody who may create an identity could restart every workload beside it."""
    story = Story(restarting(), workload(app="victim")).renewed().in_turn()
    assert story.restarts() == 0
    assert story.rolled_out == ("False", "NotItsWorkload")


def test_identities_that_share_pods_restart_none() -> None:
    story = Story(restarting(), workload()).renewed()
    story.put(identity("twin", pods={"matchLabels": {"app": "payments"}})).in_turn()
    assert story.restarts() == 0
    assert story.rolled_out == ("Unknown", "SharedIdentity")


def test_paused_deployment_is_left_alone_until_it_is_resumed() -> None:
    story = Story(restarting(), workload(paused=True)).renewed().in_turn()
    assert story.restarts() == 0
    assert story.rolled_out == ("False", "RolloutPaused")
    assert story.put(workload()).finish().restarts() == 2  # the change of `paused`, and the restart


def test_rollout_is_unknown_without_a_certificate() -> None:
    cluster = Cluster.of(namespace("shop", domain="production"), restarting(), workload())
    cluster.world.workloads.enabled = True
    assert cluster.condition(key_of(), "RolledOut")["status"] == "Unknown"
    cluster.put(domain())
    assert cluster.condition(key_of(), "RolledOut")["reason"] == "NoCertificate"


def test_refused_restart_is_reported() -> None:
    story = Story(restarting(), workload())
    story.renewed()
    story.cluster.uptime += 2 * PROPAGATION.total_seconds()
    story.cluster.world.observe_outcome(
        WriteRefused(*PAYMENTS, "Deployment shop/payments cannot be written: no", passing=False)
    )
    assert story.rolled_out == ("False", "WriteRefused")


# Status


def test_identity_that_restarts_nothing_has_no_rollout_condition() -> None:
    status = Story(identity(), workload()).renewed().in_turn().cluster.plan(key_of()).status
    assert status is not None
    assert "RolledOut" not in {each["type"] for each in status["conditions"]}


def test_rollout_does_not_make_an_identity_unready() -> None:
    story = due_for_restart()
    assert story.rolled_out == ("False", "RollingOut")
    assert story.cluster.condition(key_of(), "Ready")["status"] == "True"


# Blockers of a root rotation


def prepared_root(world: World) -> Authority:
    known = world.authorities.of(world.registry.domains["production"])
    assert known is not None
    assert known.prepared is not None
    return known.prepared


def waiting(story: Story) -> list[str]:
    world = story.cluster.world
    production = world.registry.domains["production"]
    root = prepared_root(world)
    return list(waiting_for_root(root, below(root, production, story.cluster)))


def below(root: Authority, issuing: TrustDomain, cluster: Cluster) -> tuple[Restarting, ...]:
    """Return the restarting identities of the domains that trust a root of one."""
    return of(trusting(root, issuing, cluster.world.registry), cluster)


def of(domains: Iterable[TrustDomain], cluster: Cluster) -> tuple[Restarting, ...]:
    return tuple(certificates.restarting(domains, Reader(cluster.world), cluster.moment))


def old(story: Story) -> list[str]:
    world = story.cluster.world
    return list(still_on_old_leaf(of([world.registry.domains["production"]], story.cluster)))


NOT_WITH_ROOT = "Deployment shop/payments has not been restarted with the new root yet"
NOT_WITH_LEAF = "Deployment shop/payments has not been restarted with its new certificate yet"


@pytest.mark.parametrize("restarted_before", [True, False])
def test_new_root_signs_only_after_the_workload_restarted_with_it(
    restarted_before: bool,
) -> None:
    story = Story(restarting(), workload())
    if restarted_before:
        story.renewed().in_turn().finish()
    story.prepare_root()
    assert waiting(story) == [NOT_WITH_ROOT]
    story.in_turn()
    assert waiting(story) == [NOT_WITH_ROOT], "pods with the old roots are left"
    story.put(rolled(story.cluster.objects[PAYMENTS], updated=1))
    assert waiting(story) == [NOT_WITH_ROOT]
    story.put(rolled(story.cluster.objects[PAYMENTS], available=1))
    assert waiting(story) == [], "whether pods are available is another question"
    assert waiting(story.operator_restarted()) == []


def test_old_root_stays_until_the_workload_restarted_with_its_leaf() -> None:
    story = Story(restarting(), workload())
    assert old(story) == []
    story.renewed()
    assert old(story) == [NOT_WITH_LEAF]
    story.in_turn()
    assert old(story) == [NOT_WITH_LEAF]
    assert old(story.finish()) == []


def test_later_rollout_does_not_prolong_the_wait() -> None:
    """Otherwise a fleet that is deployed all day would block the rotation of a root for ever."""
    story = Story(restarting(), workload()).prepare_root().in_turn().finish()
    world = story.cluster.world
    (since,) = restarted_since(of([world.registry.domains["production"]], story.cluster))
    story.later(HOUR)
    deployed = copy.deepcopy(story.cluster.objects[PAYMENTS])
    deployed["spec"]["template"]["spec"] = {"containers": [{"name": "new"}]}
    story.put(deployed).put(rolled(story.cluster.objects[PAYMENTS], updated=1, available=1))
    assert waiting(story) == []
    assert list(restarted_since(of([world.registry.domains["production"]], story.cluster))) == [
        since
    ]


def test_rollback_to_an_older_template_is_noticed() -> None:
    story = Story(restarting(), workload()).renewed().in_turn().finish()
    before = copy.deepcopy(story.cluster.objects[PAYMENTS]["spec"])
    story.prepare_root().in_turn().finish()
    assert waiting(story) == []
    story.put({**story.cluster.objects[PAYMENTS], "spec": before})
    assert waiting(story) == [NOT_WITH_ROOT]


def test_wait_counts_from_the_end_of_the_last_old_pod() -> None:
    story = Story(restarting(), workload()).prepare_root().in_turn().later(HOUR).finish()
    cluster, moment = story.cluster, story.cluster.moment
    production = cluster.world.registry.domains["production"]
    assert list(restarted_since(of([production], cluster))) == [moment.uptime]


def test_blocker_without_rollouts_names_the_chart_value_to_set() -> None:
    story = Story(restarting(), workload(), enabled=False).prepare_root()
    sentence = (
        "Deployment shop/payments cannot reload its files, and Troth is not allowed to restart "
        "it; set the chart value rollouts.enabled to true"
    )
    assert waiting(story) == [sentence]
    assert old(story) == [sentence]


def test_missing_and_foreign_workloads_block_nothing() -> None:
    story = Story(restarting(PAYMENTS, LEDGER), workload(app="other")).renewed().prepare_root()
    assert waiting(story) == old(story) == []


def test_identity_with_an_expired_certificate_blocks_nothing() -> None:
    story = Story(restarting(), workload()).renewed().prepare_root()
    assert waiting(story)
    story.cluster.now = datetime.max.replace(tzinfo=NOW.tzinfo)
    assert waiting(story) == old(story) == []


def test_identities_of_a_federated_domain_must_trust_the_new_root_too() -> None:
    cluster = Cluster.of(
        namespace("shop", domain="production"),
        namespace("north", domain="abroad"),
        domain(federatesWith=[{"name": "abroad"}]),
        domain("abroad", federatesWith=[{"name": "production"}]),
        authority_secret(),
        authority_secret("abroad"),
        identity("web", "north", onRotation={"restart": [{"kind": "Deployment", "name": "web"}]}),
        workload("web", app="web", namespace="north"),
    )
    cluster.world.workloads.enabled = True
    cluster.settle()
    prepared = copy.deepcopy(authority_secret())
    certificate, key = root("production.example", "second")
    prepared["data"] |= builders.secret("x", next_crt=certificate, next_key=key.encode())["data"]
    cluster.put(prepared)
    cluster.settle()
    production, abroad = (cluster.world.registry.domains[each] for each in ("production", "abroad"))
    told = ["Deployment north/web has not been restarted with the new root yet"]
    wanted = prepared_root(cluster.world)
    assert list(waiting_for_root(wanted, below(wanted, production, cluster))) == told
    assert list(waiting_for_root(wanted, below(wanted, abroad, cluster))) == told
    assert list(still_on_old_leaf(of([production], cluster))) == []


def test_federated_domain_that_may_not_trust_the_root_blocks_nothing() -> None:
    cluster = Cluster.of(
        namespace("north", domain="abroad"),
        domain(federatesWith=[{"name": "abroad"}]),
        domain("abroad", federatesWith=[{"name": "production"}]),
        authority_secret(constrained=False),
        authority_secret("abroad"),
        identity("web", "north", onRotation={"restart": [{"kind": "Deployment", "name": "web"}]}),
        workload("web", app="web", namespace="north"),
    ).settle()
    production = cluster.world.registry.domains["production"]
    known = cluster.world.authorities.of(production)
    assert known is not None
    assert known.authority is not None
    root = known.authority
    assert list(waiting_for_root(root, below(root, production, cluster))) == []


# The Restart step


def test_restart_names_the_uid_of_the_observed_workload() -> None:
    story = Story(restarting(), workload()).renewed()
    story.cluster.uptime += 2 * PROPAGATION.total_seconds()
    (step,) = (each for each in story.cluster.plan(key_of()).steps if isinstance(each, Restart))
    metadata = story.cluster.objects[PAYMENTS]["metadata"]
    assert (step.uid, step.resource_version) == (metadata["uid"], metadata["resourceVersion"])
    assert step.message == (
        f"Deployment shop/payments is being restarted for the certificate {story.leaf}"
    )
