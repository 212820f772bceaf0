"""The list API and `troth deadletters` on a real API server, with real users and roles."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests import messaging
from tests.cluster.command import Ended, begun, troth
from tests.cluster.person import Manifest, Refused, until
from tests.cluster.stage import Stage
from tests.edge.mounts import bundle_map
from tests.review.api.desk import DATA, NOW, Desk, MemoryIndex, letter, payload_of_document
from tests.review.api.serving import REVIEWER, client_tls, running
from tests.reviews import dead_letter_review
from troth.cluster.api import ApiServer
from troth.cluster.connection.connecting import configuration
from troth.resources.references import Ref
from troth.review.api.access import Access
from troth.review.api.endpoint import app
from troth.review.api.metrics import Calls

RBAC = "rbac.authorization.k8s.io"
REVIEW = "DeadLetterReview"
VALUES = (
    "rbac.userRoles=true",
    "review.admissionPolicy=true",
    "review.serviceAccountsMayApprove=true",
)


@dataclass
class Worker:
    """A list API whose users are those of the cluster."""

    stage: Stage
    people: str
    """Namespace of the users: those in the namespace of a review may not decide about it."""
    desk: Desk
    url: str
    directory: Path
    tokens: dict[str, str] = field(default_factory=dict)

    async def user(self, name: str, *roles: str) -> str:
        """Create a user with some of the chart's roles; return the token."""
        account = Ref(self.people, name)
        await self.stage.person.put(service_account(account))
        for role in roles:
            subject = {"kind": "ServiceAccount", "name": name, "namespace": account.namespace}
            await self.bind(f"{name}-{role}", f"{self.stage.own}-{role}", subject)
        self.tokens[name] = await self.stage.person.token(account)
        return self.tokens[name]

    async def bind(self, name: str, role: str, subject: Manifest) -> None:
        await self.stage.person.put(
            {
                "apiVersion": f"{RBAC}/v1",
                "kind": "RoleBinding",
                "metadata": {"name": name, "namespace": self.stage.shop},
                "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role},
                "subjects": [subject],
            }
        )

    async def get(self, path: str, token: str, policy: str = "orders") -> tuple[int, Manifest]:
        """Return the status and the document of an answer."""
        letters = f"/v1/namespaces/{self.stage.shop}/policies/{policy}/deadletters"
        async with (
            aiohttp.ClientSession() as session,
            session.get(
                f"{self.url}{letters}{path}",
                headers={"Authorization": f"Bearer {token}"},
                ssl=client_tls(),
            ) as answer,
        ):
            return answer.status, await answer.json()

    async def answers(self, status: int, path: str, token: str, policy: str = "orders") -> Manifest:
        """Wait until an answer has a status, once roles and caches are up to date; return it."""
        _, document = await until(
            lambda: self.get(path, token, policy), lambda answer: answer[0] == status
        )
        return document

    async def troth(self, user: str, *arguments: str) -> Ended:
        """Run `troth deadletters` as a user, beside the worker."""
        place = ("-n", self.stage.shop)
        return await troth(await self._kubeconfig(user), "deadletters", *arguments, *place)

    @asynccontextmanager
    async def begun(self, user: str, *arguments: str) -> AsyncIterator[Any]:
        kubeconfig = await self._kubeconfig(user)
        place = ("-n", self.stage.shop)
        async with begun(kubeconfig, "deadletters", *arguments, *place) as command:
            yield command

    async def _kubeconfig(self, user: str) -> Path:
        return await self.stage.kubeconfig_of(Ref(self.people, user))

    @property
    def place(self) -> tuple[str, ...]:
        """Options that name the worker."""
        bundle = self.directory / "bundle-map.json"
        bundle.write_text(json.dumps(bundle_map()))
        return ("--server", self.url, "--worker", REVIEWER, "--bundle", str(bundle))


def service_account(ref: Ref) -> Manifest:
    metadata = {"name": ref.name, "namespace": ref.namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}


@pytest.fixture
async def worker(stage: Stage, tmp_path: Path) -> AsyncIterator[Worker]:
    """Yield a worker of a real API server, which may ask it who somebody is and nothing else."""
    await stage.install(*VALUES)
    people = await stage.namespace("none")
    account = Ref(stage.own, "troth-review")
    await stage.person.put(
        service_account(account),
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": f"{stage.own}-delegator"},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "system:auth-delegator"},
            "subjects": [
                {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}
            ],
        },
    )
    config = await configuration(str(await stage.kubeconfig_of(account)))
    orders = Ref(stage.shop, "orders")
    letters = [letter(number, policy=orders) for number in range(3)]
    desk = Desk(MemoryIndex(letters), served={orders, Ref(stage.shop, "payments")})
    try:
        async with ApiServer(config) as server:
            application = app(desk, Access(server), desk.payload_read, Calls(), now=lambda: NOW)
            async with running(application, tmp_path / "worker") as serving:
                yield Worker(stage, people, desk, serving.url, tmp_path)
    finally:
        await stage.person.delete("ClusterRoleBinding", Ref("", f"{stage.own}-delegator"))


async def test_roles_of_the_chart_say_who_sees_letters_and_payloads(worker: Worker) -> None:
    alice, bob = await worker.user("alice", "deadletters"), await worker.user("bob")
    dave = await worker.user("dave", "deadletters-payload")

    document = await worker.answers(200, "", alice)
    assert len(document["letters"]) == 3
    assert (await worker.answers(200, "/letter-0001", alice))["checks"]
    assert (await worker.answers(200, "/counts", alice))["pending"] == 3

    denied = await worker.answers(403, "/letter-0001/payload", alice)
    name = f"system:serviceaccount:{worker.people}:alice"
    assert denied["message"].startswith(f'user "{name}" cannot payload resource ')
    assert worker.desk.read == []

    payload = await worker.answers(200, "/letter-0001/payload", dave)
    assert payload_of_document(payload) == DATA
    assert len(worker.desk.read) == 1

    for path in ("", "/counts", "/letter-0001", "/letter-0001/payload"):
        assert (await worker.get(path, bob))[0] == 403


async def test_group_and_single_policy_count_as_the_api_server_says(worker: Worker) -> None:
    shop = worker.stage.shop
    alice, bob = await worker.user("alice"), await worker.user("bob")
    role = {"apiGroups": ["troth.dev"], "resources": ["topicpolicies/deadletters"]}
    await worker.stage.person.put(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "Role",
            "metadata": {"name": "orders", "namespace": shop},
            "rules": [role | {"verbs": ["list"], "resourceNames": ["orders"]}],
        },
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "orders", "namespace": shop},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "orders"},
            "subjects": [
                {
                    "kind": "Group",
                    "name": f"system:serviceaccounts:{worker.people}",
                    "apiGroup": RBAC,
                }
            ],
        },
    )
    for token in (alice, bob):
        await worker.answers(200, "", token)
        assert (await worker.get("", token, "payments"))[0] == 403
        assert (await worker.get("/letter-0001", token))[0] == 403


async def test_right_that_is_taken_away_ends(worker: Worker) -> None:
    alice = await worker.user("alice", "deadletters")
    await worker.answers(200, "", alice)
    binding = Ref(worker.stage.shop, "alice-deadletters")
    await worker.stage.person.delete("RoleBinding", binding)
    await worker.answers(403, "", alice)


async def test_deleted_user_and_revoked_token_are_rejected(worker: Worker) -> None:
    people, kubectl = worker.people, worker.stage.sandbox.kubectl
    alice = await worker.user("alice", "deadletters")
    kubectl("create", "secret", "generic", "holder", "-n", people)
    bound = ("--bound-object-kind", "Secret", "--bound-object-name", "holder")
    revocable = kubectl("create", "token", "alice", "-n", people, *bound).strip()
    for token in (alice, revocable):
        await worker.answers(200, "", token)

    kubectl("delete", "secret", "holder", "-n", people)
    await worker.answers(401, "", revocable)
    await worker.answers(200, "", alice)
    kubectl("delete", "serviceaccount", "alice", "-n", people)
    denied = await worker.answers(401, "", alice)
    assert denied["message"] == "the API server does not accept the bearer token"


async def test_forged_foreign_and_missing_tokens_are_rejected(worker: Worker) -> None:
    people, kubectl = worker.people, worker.stage.sandbox.kubectl
    alice = await worker.user("alice", "deadletters")
    await worker.answers(200, "", alice)
    head, claims, signature = alice.split(".")
    other = kubectl("create", "token", "alice", "-n", people, "--audience", "elsewhere").strip()
    for token in (f"{head}.{claims}.{signature[::-1]}", f"{head}.{claims}.", "x", other):
        assert (await worker.get("", token))[0] == 401


async def test_worker_that_may_not_ask_shows_nothing(worker: Worker) -> None:
    alice = await worker.user("alice", "deadletters")
    await worker.answers(200, "", alice)
    binding = Ref("", f"{worker.stage.own}-delegator")
    await worker.stage.person.delete("ClusterRoleBinding", binding)
    assert "try again" in (await worker.answers(503, "", alice))["message"]


# The command


async def test_review_is_requested_approved_and_watched_with_four_eyes(worker: Worker) -> None:
    for name in ("alice", "bob"):
        await worker.user(name, "view", "edit", "deadletters", "approve")
    await worker.user("carol", "view", "edit", "deadletters")
    for token in worker.tokens.values():
        await worker.answers(200, "/letter-0001", token)
    await until(lambda: in_force(worker), bool)
    shop, person = worker.stage.shop, worker.stage.person
    alice, bob = (f"system:serviceaccount:{worker.people}:{name}" for name in ("alice", "bob"))

    listed = await worker.troth("alice", "list", "orders", *worker.place)
    assert listed.code == 0, listed
    assert "letter-0002" in listed.output
    asked = ("request", "orders", "--action", "Redrive", "--reason", "fixed", "--name", "fix")
    requested = await worker.troth("alice", *asked, *worker.place)
    assert requested.code == 0, requested
    assert f"requested DeadLetterReview fix as {alice}" in requested.output
    ref = Ref(shop, "fix")
    spec = (await person.the(REVIEW, ref))["spec"]
    assert spec["requestedBy"] == alice
    assert spec["select"]["until"] == "2026-11-28T12:00:00Z"

    again = await worker.troth("alice", *asked, *worker.place)
    assert again.code == 2
    assert "already exists" in again.errors
    early = await worker.troth("bob", "approve", "fix", "--yes", *worker.place)
    assert "has no selection yet" in early.errors

    await worker_writes(worker, "fix", selection_of(requested.output))
    own = await worker.troth("alice", "approve", "fix", "--yes", *worker.place)
    assert "nobody approves an own request" in own.errors
    denied = await worker.troth("carol", "approve", "fix", "--yes", *worker.place)
    assert denied.code == 2
    assert "does not have the verb approve on TopicPolicy" in denied.errors
    approved = await worker.troth("bob", "approve", "fix", "--yes", *worker.place)
    assert approved.code == 0, approved
    assert "not the letters of the selection" not in approved.output
    approval = (await person.the(REVIEW, ref))["spec"]["approval"]
    assert approval == {"approvedBy": bob, "selection": selection_of(requested.output)["digest"]}

    async with worker.begun("alice", "watch", "fix") as watching:
        await watching.prints("AwaitingApproval")
        counts = {"redriven": 2, "skipped": 1}
        ended = {"phase": "Completed", "counts": counts}
        await worker_writes(worker, "fix", selection_of(requested.output), **ended)
        seen = await watching.ended()
    assert seen.code == 1  # a letter was skipped
    assert "Completed  3 of 3 (2 redriven, 1 skipped)" in seen.output
    late = await worker.troth("bob", "withdraw", "fix", "--reason", "late")
    assert "has ended: Completed" in late.errors


ENABLED = ("review.enabled=true", "review.policies[0].name=orders")


async def test_roles_of_the_chart_suffice_to_approve_with_the_command(worker: Worker) -> None:
    """Bob has no other role, and gives no options that name the worker and its bundle."""
    stage, person = worker.stage, worker.stage.person
    await stage.install(*VALUES, *ENABLED, f"review.policies[0].namespace={stage.shop}")
    identity = Ref(stage.own, "troth-review")
    status = {"status": {"spiffeID": REVIEWER}}
    await person.edit("ServiceIdentity", identity, status, subresource="status")
    reviewer = {"name": identity.name, "namespace": identity.namespace}
    letters = {"topic": "prod.orders.v1.dlq", "reviewer": reviewer}
    await person.put(messaging.policy("orders", stage.shop, deadLetter=letters))
    await person.put(trust_bundle(stage.own), worker_pod(stage.own))
    pod = {"conditions": [{"type": "Ready", "status": "True"}]}
    await person.edit("Pod", Ref(stage.own, "review"), {"status": pod}, subresource="status")
    await until(lambda: in_force(worker), bool)

    await worker.user("alice", "view", "edit", "deadletters")
    bob = await worker.user("bob", "approve")
    for name in ("alice", "bob"):
        await reach(worker, name)
        await worker.answers(200, "/letter-0001", worker.tokens[name])
    directly = ("--server", worker.url)
    asked = ("request", "orders", "--action", "Redrive", "--reason", "fixed", "--name", "narrow")
    requested = await worker.troth("alice", *asked, *directly)
    assert requested.code == 0, requested
    await worker_writes(worker, "narrow", selection_of(requested.output))
    approved = await worker.troth("bob", "approve", "narrow", "--yes", *directly)
    assert approved.code == 0, approved
    spec = (await person.the(REVIEW, Ref(stage.shop, "narrow")))["spec"]
    assert spec["approval"]["approvedBy"] == f"system:serviceaccount:{worker.people}:bob"
    assert (await worker.get("/letter-0001/payload", bob))[0] == 403

    # The pod runs nowhere, so the port-forward fails, but is not denied.
    forwarded = await worker.troth("bob", "list", "orders")
    assert forwarded.code == 2
    assert "the API server answered" in forwarded.errors
    assert "denies" not in forwarded.errors
    await person.delete("RoleBinding", Ref(stage.own, "bob-reach"))
    right = {"verb": "get", "group": "troth.dev", "resource": "serviceidentities"}
    right |= {"namespace": stage.own, "name": "troth-review"}
    await until(lambda: person.may(Ref(worker.people, "bob"), **right), lambda may: not may)
    denied = await worker.troth("bob", "list", "orders", *directly)
    assert "cannot be read; name the worker's SPIFFE ID with --worker" in denied.errors


async def reach(worker: Worker, name: str) -> None:
    """Let a user reach the worker."""
    own = worker.stage.own
    await worker.stage.person.put(
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"{name}-reach", "namespace": own},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": f"{own}-review-reach"},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": worker.people}],
        }
    )
    right = {"verb": "list", "resource": "configmaps", "namespace": own}
    await until(lambda: worker.stage.person.may(Ref(worker.people, name), **right), bool)


def trust_bundle(namespace: str) -> Manifest:
    labels = {"app.kubernetes.io/managed-by": "troth"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "bundle", "namespace": namespace, "labels": labels},
        "data": {"bundle-map.json": json.dumps(bundle_map())},
    }


def worker_pod(namespace: str) -> Manifest:
    labels = {"app.kubernetes.io/component": "review"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "review", "namespace": namespace, "labels": labels},
        "spec": {
            "serviceAccountName": "troth-review",
            "containers": [{"name": "review", "image": "example"}],
        },
    }


async def in_force(worker: Worker) -> bool:
    """Return whether the API server holds the names in reviews to their users."""
    try:
        await worker.stage.person.put(
            dead_letter_review("probe", worker.stage.shop, requested_by="nobody"), dryRun="All"
        )
    except Refused:
        return True
    return False


def selection_of(output: str) -> Manifest:
    """Return the selection that a dry run shows."""
    (digest,) = (line.split()[1] for line in output.splitlines() if "  digest" in line)
    return {"count": 3, "digest": digest, "at": "2026-11-28T12:00:05Z"}


async def worker_writes(worker: Worker, name: str, selection: Manifest, **status: Any) -> None:
    """Write the status of a review as the worker does."""
    account = Ref(worker.stage.own, "troth-review")
    place = {
        "apiVersion": f"{RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": "worker", "namespace": worker.stage.shop},
        "rules": [
            {
                "apiGroups": ["troth.dev"],
                "resources": ["deadletterreviews", "deadletterreviews/status"],
                "verbs": ["get", "patch"],
            }
        ],
    }
    subject = {"kind": "ServiceAccount", "name": account.name, "namespace": account.namespace}
    await worker.stage.person.put(
        place,
        {
            "apiVersion": f"{RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "worker", "namespace": worker.stage.shop},
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "worker"},
            "subjects": [subject],
        },
    )
    right = {"verb": "patch", "group": "troth.dev", "resource": "deadletterreviews"}
    right |= {"subresource": "status", "namespace": worker.stage.shop}
    await until(lambda: worker.stage.person.may(account, **right), bool)
    config = await configuration(str(await worker.stage.kubeconfig_of(account)))
    async with ApiServer(config, field_manager="troth-review") as server:
        await server.apply_status(
            {
                "apiVersion": "troth.dev/v1alpha1",
                "kind": REVIEW,
                "metadata": {"name": name, "namespace": worker.stage.shop},
                "status": {"phase": "AwaitingApproval", "selection": selection} | status,
            }
        )


async def test_deleted_review_ends_the_watch(worker: Worker) -> None:
    await worker.user("alice", "view", "edit", "deadletters")
    await worker.answers(200, "/letter-0001", worker.tokens["alice"])
    asked = ("request", "orders", "--action", "Discard", "--reason", "old", "--name", "old")
    assert (await worker.troth("alice", *asked, *worker.place)).code == 0
    async with worker.begun("alice", "watch", "old") as watching:
        await watching.prints("Pending")
        await worker.stage.person.delete(REVIEW, Ref(worker.stage.shop, "old"))
        ended = await watching.ended()
    assert ended.code == 2
    assert "was deleted" in ended.errors
