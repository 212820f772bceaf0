"""Every forgery of a review that is tried, with the rules that reject it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.cluster.person import Manifest, Person
from tests.cluster.reviews.scene import (
    GITOPS,
    NAMES,
    REVIEW,
    ROBOT,
    WITHDRAWAL,
    Change,
    Scene,
    by_put,
    refusal,
    set_to,
    topic_policy,
)
from tests.reviews import dead_letter_review
from troth.resources.references import Ref

# Words of the rules' messages
REQUESTER = "to spec.requestedBy"
BARE = "without approval and withdrawal"
SAME_REQUESTER = "spec.requestedBy cannot change"
OWN_CHANGES = "only the user who requests"
SETTLED = "so it cannot change"
APPROVER = "to spec.approval.approvedBy"
ANOTHER = "nobody approves an own request"
PEOPLE = "let a person approve"
OWN_ACCOUNT = "a ServiceAccount of this namespace"
WAIVE = "without the verb waive"
WORKER = "must be the worker of the release"
VERB = "you need the verb approve"
LATE_APPROVAL = "so it cannot be approved"
SAME_APPROVAL = "spec.approval cannot change"
WITHDRAWER = "to spec.withdrawal.withdrawnBy"
LATE_WITHDRAWAL = "so it cannot be withdrawn"
SAME_WITHDRAWAL = "spec.withdrawal cannot change"
STATUS = "only the worker"
DELETION = "before you delete"
RULES = (
    *(
        REQUESTER,
        BARE,
        SAME_REQUESTER,
        OWN_CHANGES,
        SETTLED,
        APPROVER,
        ANOTHER,
        PEOPLE,
        OWN_ACCOUNT,
        VERB,
    ),
    *(
        LATE_APPROVAL,
        SAME_APPROVAL,
        WITHDRAWER,
        LATE_WITHDRAWAL,
        SAME_WITHDRAWAL,
        WAIVE,
        WORKER,
        STATUS,
        DELETION,
    ),
)


@dataclass(frozen=True)
class Forgery:
    """A forgery that each of its rules alone rejects."""

    who: str
    attempt: Callable[[Person, str], Awaitable[object]]
    """Tries it in a namespace."""
    rules: tuple[str, ...]


async def answer_to(scene: Scene, forgery: Forgery, namespace: str) -> str:
    """Return why the API server rejects a forgery, empty if it accepts it."""
    user = await scene.user(forgery.who)
    return await refusal(forgery.attempt(user, namespace))


@dataclass(frozen=True)
class Edit:
    """A change of the spec of a review in a state, which may be sent in several ways."""

    who: str
    state: str
    change: Change
    rules: tuple[str, ...]
    removes: bool = False
    """Whether it removes a field, which apply does not."""


def _approval(by: str, **more: str) -> Change:
    return set_to(approval={"approvedBy": NAMES.get(by, by)} | more)


def _withdrawal(by: str) -> Change:
    return set_to(withdrawal=WITHDRAWAL | {"withdrawnBy": NAMES.get(by, by)})


def _both(*changes: Change) -> Change:
    def change(spec: Manifest) -> None:
        for each in changes:
            each(spec)

    return change


WIDER = set_to(select={"limit": 1000})
UNAPPROVED, UNWITHDRAWN = set_to(approval=None), set_to(withdrawal=None)

EDITS: dict[str, Edit] = {
    "bob claims the request": Edit(
        "bob", "requested", set_to(requestedBy="bob"), (SAME_REQUESTER, OWN_CHANGES)
    ),
    "alice gives the request to bob, to approve it herself": Edit(
        "alice", "requested", set_to(requestedBy="bob"), (SAME_REQUESTER,)
    ),
    "bob claims the request and approves": Edit(
        *("bob", "requested", _both(set_to(requestedBy="bob"), _approval("bob"))),
        (SAME_REQUESTER, OWN_CHANGES, ANOTHER),
    ),
    "alice gives the request to bob and approves": Edit(
        *("alice", "requested", _both(set_to(requestedBy="bob"), _approval("alice"))),
        (SAME_REQUESTER,),
    ),
    "carol widens the selection": Edit("carol", "requested", WIDER, (OWN_CHANGES,)),
    "carol changes the action": Edit(
        "carol", "requested", set_to(action="Discard"), (OWN_CHANGES,)
    ),
    "bob widens the selection as he approves": Edit(
        "bob", "requested", _both(WIDER, _approval("bob")), (OWN_CHANGES,)
    ),
    "bob rewrites the reason as he approves": Edit(
        *("bob", "requested", _both(set_to(reason="none"), _approval("bob"))), (OWN_CHANGES,)
    ),
    "carol changes the selection as she withdraws": Edit(
        "carol", "requested", _both(WIDER, _withdrawal("carol")), (OWN_CHANGES,)
    ),
    "alice widens the selection after the approval": Edit("alice", "approved", WIDER, (SETTLED,)),
    "alice changes the rate after the approval": Edit(
        "alice", "approved", set_to(rate="9/s"), (SETTLED,)
    ),
    "alice drops a field after the approval": Edit(
        "alice", "approved", set_to(select=None), (SETTLED,), removes=True
    ),
    "alice widens the selection of a running review": Edit("alice", "running", WIDER, (SETTLED,)),
    "alice changes the reason of a completed review": Edit(
        "alice", "completed", set_to(reason="another one"), (SETTLED,)
    ),
    "alice changes a withdrawn review": Edit("alice", "withdrawn", WIDER, (SETTLED,)),
    "carol widens the selection after the approval": Edit(
        "carol", "approved", WIDER, (OWN_CHANGES, SETTLED)
    ),
    "bob approves as dave": Edit("bob", "requested", _approval("dave"), (APPROVER,)),
    "alice approves as bob": Edit("alice", "requested", _approval("bob"), (APPROVER, ANOTHER)),
    "alice approves herself": Edit("alice", "requested", _approval("alice"), (ANOTHER,)),
    "bob approves in other letters": Edit("bob", "requested", _approval("Bob"), (APPROVER,)),
    "bob approves with a prefix": Edit("bob", "requested", _approval("oidc:bob"), (APPROVER,)),
    "a ServiceAccount approves": Edit("robot", "requested", _approval("robot"), (PEOPLE,)),
    "a ServiceAccount approves as bob": Edit(
        "robot", "requested", _approval("bob"), (APPROVER, PEOPLE)
    ),
    "carol approves without the verb": Edit("carol", "requested", _approval("carol"), (VERB,)),
    "erin approves with the verb on another policy": Edit(
        "erin", "requested", _approval("erin"), (VERB,)
    ),
    "bob approves what a ServiceAccount of the namespace requests": Edit(
        "bob", "by-account", _approval("bob"), (OWN_ACCOUNT,)
    ),
    "bob approves a withdrawn review": Edit("bob", "withdrawn", _approval("bob"), (LATE_APPROVAL,)),
    "bob approves and withdraws at once": Edit(
        "bob", "requested", _both(_approval("bob"), _withdrawal("bob")), (LATE_APPROVAL,)
    ),
    "bob approves a running review": Edit("bob", "running", _approval("bob"), (LATE_APPROVAL,)),
    "bob approves a completed review": Edit("bob", "completed", _approval("bob"), (LATE_APPROVAL,)),
    "dave takes over the approval": Edit("dave", "approved", _approval("dave"), (SAME_APPROVAL,)),
    "alice takes over the approval": Edit(
        "alice", "approved", _approval("alice"), (SAME_APPROVAL,)
    ),
    "bob approves another selection afterwards": Edit(
        "bob", "approved", _approval("bob", selection="A" * 43), (SAME_APPROVAL,)
    ),
    "carol removes the approval": Edit(
        "carol", "approved", UNAPPROVED, (SAME_APPROVAL,), removes=True
    ),
    "bob removes the approval of a completed review": Edit(
        "bob", "approved-completed", UNAPPROVED, (SAME_APPROVAL,), removes=True
    ),
    "carol withdraws as bob": Edit("carol", "approved", _withdrawal("bob"), (WITHDRAWER,)),
    "carol withdraws a request as alice": Edit(
        "carol", "requested", _withdrawal("alice"), (WITHDRAWER,)
    ),
    "bob withdraws a completed review": Edit(
        "bob", "approved-completed", _withdrawal("bob"), (LATE_WITHDRAWAL,)
    ),
    "alice removes the withdrawal": Edit(
        "alice", "approved-withdrawn", UNWITHDRAWN, (SAME_WITHDRAWAL,), removes=True
    ),
    "carol takes over the withdrawal": Edit(
        "carol", "withdrawn", _withdrawal("carol"), (SAME_WITHDRAWAL,)
    ),
}


def _creates(who: str, **spec: object) -> Callable[[Person, str], Awaitable[object]]:
    async def attempt(user: Person, namespace: str) -> None:
        review = dead_letter_review("forged", namespace, requested_by=NAMES.get(who, who))
        review["spec"] |= spec
        await user.ask("POST", REVIEW, Ref(namespace, ""), body=review, dryRun="All")

    return attempt


def _applies(who: str, **spec: object) -> Callable[[Person, str], Awaitable[object]]:
    async def attempt(user: Person, namespace: str) -> None:
        review = dead_letter_review("forged", namespace, requested_by=who)
        await user.put(review | {"spec": review["spec"] | spec}, dryRun="All")

    return attempt


def _writes_status(state: str, **status: object) -> Callable[[Person, str], Awaitable[object]]:
    async def attempt(user: Person, namespace: str) -> None:
        place, body = Ref(namespace, state), {"status": status}
        await user.edit(REVIEW, place, body, subresource="status", dryRun="All")

    return attempt


def _deletes(state: str) -> Callable[[Person, str], Awaitable[object]]:
    async def attempt(user: Person, namespace: str) -> None:
        await user.ask("DELETE", REVIEW, Ref(namespace, state), dryRun="All")

    return attempt


def _waives(name: str) -> Callable[[Person, str], Awaitable[object]]:
    async def attempt(user: Person, namespace: str) -> None:
        await user.put(topic_policy(namespace, name, approvals=0), dryRun="All")

    return attempt


def _appoints(policy: str, **reviewer: str) -> Callable[[Person, str], Awaitable[object]]:
    async def attempt(user: Person, namespace: str) -> None:
        manifest = topic_policy(namespace, policy, reviewer={"name": "own"} | reviewer)
        await user.put(manifest, dryRun="All")

    return attempt


OTHERS: dict[str, Forgery] = {
    "carol waives the approval of the policy": Forgery("carol", _waives("orders"), (WAIVE,)),
    "bob waives the approval of the policy": Forgery("bob", _waives("orders"), (WAIVE,)),
    "carol creates a policy that needs no approval": Forgery("carol", _waives("new"), (WAIVE,)),
    "carol names her own workload as the reviewer": Forgery(
        "carol", _appoints("orders"), (WORKER,)
    ),
    "bob names his own workload as the reviewer": Forgery("bob", _appoints("orders"), (WORKER,)),
    "carol names a workload with the worker's name": Forgery(
        "carol", _appoints("orders", name="troth-review"), (WORKER,)
    ),
    "carol names a workload of another namespace": Forgery(
        "carol", _appoints("orders", namespace=GITOPS), (WORKER,)
    ),
    "carol replaces the reviewer by her own workload": Forgery(
        "carol", _appoints("reviewed"), (WORKER,)
    ),
    "carol moves the reviewer to her namespace": Forgery(
        "carol", _appoints("reviewed", name="troth-review"), (WORKER,)
    ),
    "carol creates a policy with her own reviewer": Forgery("carol", _appoints("new"), (WORKER,)),
    "a GitOps controller names another reviewer": Forgery("robot", _appoints("orders"), (WORKER,)),
    "alice requests as bob": Forgery("alice", _creates("alice", requestedBy="bob"), (REQUESTER,)),
    "alice applies a request of bob": Forgery(
        "alice", _applies("alice", requestedBy="bob"), (REQUESTER,)
    ),
    "a ServiceAccount requests as alice": Forgery(
        "robot", _creates("robot", requestedBy="alice"), (REQUESTER,)
    ),
    "alice requests as a ServiceAccount": Forgery(
        "alice", _creates("alice", requestedBy=ROBOT), (REQUESTER,)
    ),
    "alice creates one that bob has approved": Forgery(
        "alice", _creates("alice", approval={"approvedBy": "bob"}), (BARE, APPROVER, ANOTHER)
    ),
    "alice creates one that she has approved": Forgery(
        "alice", _creates("alice", approval={"approvedBy": "alice"}), (BARE, ANOTHER)
    ),
    "bob creates one of alice that he approves": Forgery(
        *("bob", _creates("bob", requestedBy="alice", approval={"approvedBy": "bob"})),
        (REQUESTER, BARE),
    ),
    "alice creates one that she has withdrawn": Forgery(
        "alice", _creates("alice", withdrawal=WITHDRAWAL), (BARE,)
    ),
    "a user with the right to statuses completes a review": Forgery(
        "mallory", _writes_status("approved", phase="Completed"), (STATUS,)
    ),
    "a user with the right to statuses forges the digest": Forgery(
        "mallory",
        _writes_status(
            "approved",
            selection={"count": 1, "digest": "A" * 43, "at": "2027-01-01T00:00:00Z"},
        ),
        (STATUS,),
    ),
    "the administrator writes a status": Forgery(
        "", _writes_status("requested", phase="Running"), (STATUS,)
    ),
    "alice deletes an approved review": Forgery("alice", _deletes("approved"), (DELETION,)),
    "carol deletes a running review": Forgery("carol", _deletes("running"), (DELETION,)),
    "the administrator deletes an approved review that runs": Forgery(
        "", _deletes("approved-running"), (DELETION,)
    ),
}


def _as_forgery(edit: Edit) -> Forgery:
    async def attempt(user: Person, namespace: str) -> None:
        found = await user.the(REVIEW, Ref(namespace, edit.state))
        await by_put(user, found, edit.change)

    return Forgery(edit.who, attempt, edit.rules)


FORGERIES = OTHERS | {name: _as_forgery(edit) for name, edit in EDITS.items()}
