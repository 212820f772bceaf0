"""Names in reviews are those of the users who write them; each forgery is tried for real."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime

import pytest

from sandbox import Sandbox
from tests.cluster.person import Manifest, Person
from tests.cluster.reviews.forgeries import (
    DELETION,
    EDITS,
    FORGERIES,
    OWN_ACCOUNT,
    RULES,
    SETTLED,
    VERB,
    Forgery,
    answer_to,
)
from tests.cluster.reviews.scene import (
    NAMES,
    POLICY,
    REVIEW,
    REVIEWER,
    ROBOT,
    STATES,
    TRANSPORTS,
    TRUSTING,
    WHOLE,
    WITHDRAWAL,
    Change,
    Scene,
    by_apply,
    by_merge_patch,
    refusal,
    rendered_policy,
    rule_of,
    set_to,
    topic_policy,
    with_policies,
)
from tests.reviews import dead_letter_review
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import DeadLetterReviewSpec
from troth.review.four_eyes import admission_of, fault

DOOMED = "doomed"
WITHOUT_VERB = "without-verb"
VARIANTS: dict[str, tuple[str, ...]] = {WHOLE: (), DOOMED: (), TRUSTING: (), WITHOUT_VERB: (VERB,)}

SENT = [
    (name, send)
    for name, edit in EDITS.items()
    for send in TRANSPORTS
    if not (edit.removes and send is by_apply)  # which removes no field of another manager
]


@pytest.fixture(scope="module")
def ruled() -> Iterator[Sandbox]:
    """Yield a control plane with the policy, whole and without a rule."""
    yield from with_policies(VARIANTS)


@pytest.fixture
async def scene(ruled: Sandbox) -> AsyncIterator[Scene]:
    scene = Scene(ruled)
    async with scene.stack:
        yield scene


def says(answer: str, rule: str) -> bool:
    """Return whether an answer is the message of a rule, with or without the offending value."""
    (found,) = [each for each in _rules() if rule in each["message"]]
    parts = re.findall("'([^']*)'", found.get("messageExpression", ""))
    spoken = [found["message"], *(each for each in parts if len(each) > len("approval"))]
    return any(each.strip() in answer for each in spoken)


def _rules() -> list[dict[str, str]]:
    found: list[dict[str, str]] = rendered_policy()[0]["spec"]["validations"]
    return found


# Forgeries


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES)
async def test_forgery_is_rejected(scene: Scene, forgery: Forgery) -> None:
    answer = await answer_to(scene, forgery, WHOLE)
    assert answer.startswith("403"), answer
    assert any(says(answer, rule) for rule in forgery.rules), answer


def test_each_rule_rejects_a_forgery_that_no_other_rejects() -> None:
    assert {forgery.rules for forgery in FORGERIES.values()} >= {(rule,) for rule in RULES}
    assert sorted(map(rule_of, RULES)) == list(range(len(_rules())))


@pytest.mark.parametrize(("name", "send"), SENT)
async def test_forgery_is_rejected_however_it_is_sent(
    scene: Scene, name: str, send: Callable[[Person, Manifest, Change], Awaitable[None]]
) -> None:
    edit = EDITS[name]
    user = await scene.user(edit.who)
    found = await scene.review(edit.state)
    answer = await refusal(send(user, found, edit.change))
    assert answer.startswith("403"), answer


@pytest.mark.parametrize(
    "field", sorted(set(DeadLetterReviewSpec.model_fields) - {"approval", "withdrawal"})
)
async def test_approval_covers_every_field(scene: Scene, field: str) -> None:
    spelled = {"requested_by": "requestedBy"}.get(field, field)
    values = {
        "policy": {"name": "others"},
        "select": {"tenant": "acme"},
        "action": "Quarantine",
        "reason": "another reason",
        "rate": "1/h",
        "requestedBy": "carol",
    }
    found = await scene.review("approved")
    for who in ("alice", "bob", ""):
        user = await scene.user(who)
        change = set_to(**{spelled: values[spelled]})
        assert await refusal(by_merge_patch(user, found, change)) != ""


async def test_editor_without_the_right_to_statuses_is_rejected_by_rbac(scene: Scene) -> None:
    carol = await scene.user("carol")
    for status in ({"phase": "Completed"}, {"selection": {"count": 1, "digest": "A" * 43}}):
        asked = carol.edit(REVIEW, Ref(WHOLE, "approved"), {"status": status}, subresource="status")
        assert "cannot patch resource" in await refusal(asked)


async def test_status_in_a_write_of_the_spec_is_ignored(scene: Scene) -> None:
    alice = await scene.user("alice")
    review = dead_letter_review("ignored", WHOLE) | {"status": {"phase": "Completed"}}
    made = await alice.create(review)
    assert made.get("status", {}).get("phase") != "Completed"
    changed = await alice.edit(REVIEW, Ref.of(made), {"status": {"phase": "Completed"}})
    assert changed.get("status", {}).get("phase") != "Completed"
    await alice.delete(REVIEW, Ref.of(made))


async def test_user_without_the_right_to_impersonate_approves_as_nobody_else(scene: Scene) -> None:
    alice_as_bob = await scene.user("alice", impersonates="bob")
    found = await scene.review("requested")
    answer = await refusal(
        by_merge_patch(alice_as_bob, found, set_to(approval={"approvedBy": "bob"}))
    )
    assert "cannot impersonate" in answer


async def test_impersonated_user_is_the_one_who_approves(scene: Scene) -> None:
    """The audit log of the API server names both users."""
    admin_as_bob = await scene.user("", impersonates="bob")
    found = await scene.review("requested")
    as_bob = set_to(approval={"approvedBy": "bob"})
    assert await refusal(by_merge_patch(admin_as_bob, found, as_bob)) == ""
    administrator = set_to(approval={"approvedBy": "troth-sandbox-administrator"})
    assert await refusal(by_merge_patch(admin_as_bob, found, administrator)) != ""


async def test_verb_in_another_namespace_does_not_count(scene: Scene, ruled: Sandbox) -> None:
    ruled.kubectl(
        *("create", "rolebinding", "frank", "--clusterrole=troth-approve", "--user=frank"),
        *("-n", "default"),
    )
    frank = await scene.user("frank")
    found = await scene.review("requested")
    answer = await refusal(by_merge_patch(frank, found, set_to(approval={"approvedBy": "frank"})))
    assert says(answer, VERB)


async def test_collection_with_an_approved_review_is_not_deleted(scene: Scene) -> None:
    admin = await scene.user("")
    answer = await refusal(admin.ask("DELETE", REVIEW, Ref(WHOLE, ""), dryRun="All"))
    assert says(answer, DELETION)


async def test_worker_compares_the_policy_with_the_chart_before_it_trusts_names(
    scene: Scene,
) -> None:
    """The API server adds defaults to both, and the binding of the chart has no selector."""
    admin = await scene.user("")
    name = f"{POLICY}-{WHOLE}"
    policy = await admin.the("ValidatingAdmissionPolicy", Ref("", name))
    binding = await admin.the("ValidatingAdmissionPolicyBinding", Ref("", name))
    assert "spec.matchResources excludes" in str(fault(policy, binding))
    _, chart = rendered_policy()
    chart["metadata"]["name"], chart["spec"]["policyName"] = f"{name}-everywhere", name
    bound = await admin.put(chart, dryRun="All")
    assert fault(policy, bound) is None
    since = admission_of(policy, binding | {"spec": bound["spec"]}).since
    made = (await scene.review("requested"))["metadata"]["creationTimestamp"]
    assert since is not None
    assert datetime.fromisoformat(made) < since  # it was made before the policy
    weak = await admin.the("ValidatingAdmissionPolicy", Ref("", f"{POLICY}-{WITHOUT_VERB}"))
    assert VERB in str(fault(weak, bound))


# Everyday use


async def test_request_is_approved_by_another_and_withdrawn_by_a_third(scene: Scene) -> None:
    alice, dave, carol = [await scene.user(each) for each in ("alice", "dave", "carol")]
    made = await alice.create(dead_letter_review("everyday", WHOLE))
    place = Ref.of(made)
    await alice.edit(REVIEW, place, {"spec": {"select": {"limit": 5}}})
    approved = await dave.edit(REVIEW, place, {"spec": {"approval": {"approvedBy": "dave"}}})
    assert approved["spec"]["select"]["limit"] == 5
    answer = await refusal(alice.edit(REVIEW, place, {"spec": {"rate": "1/s"}}))
    assert says(answer, SETTLED)
    withdrawal = WITHDRAWAL | {"withdrawnBy": "carol"}
    await carol.edit(REVIEW, place, {"spec": {"withdrawal": withdrawal}})
    await alice.ask("DELETE", REVIEW, place)


async def test_approval_with_the_resource_version_covers_what_was_read(scene: Scene) -> None:
    """The digest of a selection covers the letters alone."""
    alice, bob = await scene.user("alice"), await scene.user("bob")
    seen = await alice.create(dead_letter_review("seen", WHOLE, action="Quarantine"))
    place, approval = Ref.of(seen), {"approval": {"approvedBy": "bob"}}
    version = {"resourceVersion": seen["metadata"]["resourceVersion"]}
    await alice.edit(REVIEW, place, {"spec": {"action": "Discard"}})
    answer = await refusal(bob.edit(REVIEW, place, {"metadata": version, "spec": approval}))
    assert answer.startswith("409"), answer
    assert await refusal(bob.edit(REVIEW, place, {"spec": approval}, dryRun="All")) == ""
    await alice.delete(REVIEW, place)


async def test_worker_writes_statuses_and_its_finalizer(scene: Scene) -> None:
    worker = await scene.user("troth-review")
    place = Ref(WHOLE, "approved")
    status = {"phase": "Running"}
    await worker.edit(REVIEW, place, {"status": status}, subresource="status", dryRun="All")
    await worker.edit(
        REVIEW, place, {"metadata": {"finalizers": ["troth.dev/review"]}}, dryRun="All"
    )


@pytest.mark.parametrize("state", STATES)
async def test_metadata_may_change_in_every_state(scene: Scene, state: str) -> None:
    carol = await scene.user("carol")
    metadata = {"labels": {"team": "shop"}, "annotations": {"note": "seen"}}
    await carol.edit(REVIEW, Ref(WHOLE, state), {"metadata": metadata}, dryRun="All")


@pytest.mark.parametrize(
    "state", ["requested", "withdrawn", "approved-withdrawn", "completed", "approved-completed"]
)
async def test_review_that_is_not_approved_or_has_ended_may_be_deleted(
    scene: Scene, state: str
) -> None:
    carol = await scene.user("carol")
    await carol.ask("DELETE", REVIEW, Ref(WHOLE, state), dryRun="All")


async def test_gitops_controller_requests_and_a_person_approves(scene: Scene) -> None:
    """A controller applies the request again and again, without the approval of a person."""
    robot, bob = await scene.user("robot"), await scene.user("bob")
    request = dead_letter_review("from-git", WHOLE, requested_by=ROBOT)
    await robot.put(request)
    await bob.edit(REVIEW, Ref.of(request), {"spec": {"approval": {"approvedBy": "bob"}}})
    kept = await robot.put(request)
    assert kept["spec"]["approval"] == {"approvedBy": "bob"}


async def test_service_account_of_another_namespace_may_approve_if_the_chart_allows_it(
    scene: Scene,
) -> None:
    found = await scene.review("requested", TRUSTING)
    answers = {
        name: await refusal(
            by_merge_patch(await scene.user(name), found, set_to(approval={"approvedBy": full}))
        )
        for name, full in NAMES.items()
    }
    assert answers["robot"] == ""
    assert says(answers["helper"], OWN_ACCOUNT)


async def test_policy_whose_approval_is_waived_already_may_change(scene: Scene) -> None:
    carol = await scene.user("carol")
    await carol.edit(
        "TopicPolicy", Ref(WHOLE, "waived"), {"spec": {"onDelete": "Retain"}}, dryRun="All"
    )
    again = {"spec": {"deadLetter": {"approvals": 1}}}
    await carol.edit("TopicPolicy", Ref(WHOLE, "waived"), again, dryRun="All")
    unreviewed = {"spec": {"deadLetter": None}}
    await carol.edit("TopicPolicy", Ref(WHOLE, "orders"), unreviewed, dryRun="All")


async def test_administrator_waives_the_approval_of_a_policy(scene: Scene) -> None:
    admin = await scene.user("")
    waived = {"spec": {"deadLetter": {"approvals": 0}}}
    await admin.edit("TopicPolicy", Ref(WHOLE, "orders"), waived, dryRun="All")


async def test_editor_and_gitops_controller_name_the_worker_of_the_release(scene: Scene) -> None:
    for who in ("carol", "robot"):
        user = await scene.user(who)
        for name in ("orders", "reviewed", "new"):
            await user.put(topic_policy(WHOLE, name, reviewer=REVIEWER), dryRun="All")


async def test_policy_keeps_or_loses_a_reviewer_that_an_administrator_named(scene: Scene) -> None:
    carol, place = await scene.user("carol"), Ref(WHOLE, "own")
    spelled_out = {"deadLetter": {"reviewer": {"namespace": WHOLE}}}
    for spec in ({"onDelete": "Retain"}, spelled_out, {"deadLetter": {"reviewer": None}}):
        await carol.edit("TopicPolicy", place, {"spec": spec}, dryRun="All")


async def test_administrator_names_another_reviewer(scene: Scene) -> None:
    admin = await scene.user("")
    own = {"spec": {"deadLetter": {"reviewer": {"name": "own"}}}}
    await admin.edit("TopicPolicy", Ref(WHOLE, "orders"), own, dryRun="All")


async def test_deleted_namespace_takes_its_approved_reviews_with_it(
    scene: Scene, ruled: Sandbox
) -> None:
    admin = await scene.user("")
    assert says(await refusal(admin.ask("DELETE", REVIEW, Ref(DOOMED, "approved"))), DELETION)
    ruled.kubectl("delete", "namespace", DOOMED, "--wait=false")
    await admin.misses("Namespace", Ref("", DOOMED))
