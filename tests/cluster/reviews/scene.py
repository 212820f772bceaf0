"""Four eyes on a real API server: users with their own credentials, and reviews in each state."""

import asyncio
import copy
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import yaml

from sandbox import Sandbox
from tests import builders, messaging
from tests.chart.rendering import NAMESPACE, REPOSITORY, one, rendered
from tests.cluster.conftest import await_crds, separate_sandbox
from tests.cluster.person import Manifest, Person, Refused, until
from tests.reviews import dead_letter_review
from troth.resources.references import Ref
from troth.resources.schema.rules import VALIDATIONS

REVIEW = "DeadLetterReview"
POLICY = "troth-dead-letter-reviews"
WHOLE = "whole"
"""Namespace in which all rules are in force."""
TRUSTING = "trusting"
"""Namespace in which all rules are in force, and ServiceAccounts may approve."""
GITOPS = "gitops"
WORKER = f"system:serviceaccount:{NAMESPACE}:troth-review"
ROBOT = f"system:serviceaccount:{GITOPS}:robot"
ROLES = {
    "alice": ("edit", "approve"),
    "bob": ("edit", "approve"),
    "carol": ("edit",),
    "dave": ("approve",),
    "erin": ("edit", "approve-others"),
    "frank": ("edit",),
    "mallory": ("edit", "status"),
    "robot": ("edit", "approve"),
    "helper": ("edit", "approve"),
    "troth-review": ("status",),
}
"""Users, and the last part of the names of their roles besides view. The last
three are ServiceAccounts."""
ACCOUNTS = {"robot": GITOPS, "helper": TRUSTING, "troth-review": NAMESPACE}
NAMES = {"robot": ROBOT, "helper": f"system:serviceaccount:{TRUSTING}:helper"}
"""Names of the ServiceAccounts in reviews."""

WITHDRAWAL = {"withdrawnBy": "alice", "reason": "the consumer is not fixed after all"}
RUNNING, COMPLETED = {"phase": "Running"}, {"phase": "Completed"}
STATES: dict[str, tuple[Manifest, Manifest]] = {
    "requested": ({}, {}),
    "approved": ({"approved_by": "bob"}, {}),
    "withdrawn": ({"withdrawal": WITHDRAWAL}, {}),
    "approved-withdrawn": ({"approved_by": "bob", "withdrawal": WITHDRAWAL}, {}),
    "running": ({}, RUNNING),
    "approved-running": ({"approved_by": "bob"}, RUNNING),
    "completed": ({}, COMPLETED),
    "approved-completed": ({"approved_by": "bob"}, COMPLETED),
    "by-account": ({"requested_by": "system:serviceaccount:{namespace}:helper"}, {}),
}
"""Reviews by name: what their specs have besides a request of alice, and their statuses."""
REVIEWER: Manifest = {"name": "troth-review", "namespace": NAMESPACE}
POLICIES: dict[str, Manifest] = {
    "orders": {},
    "waived": {"approvals": 0},
    "reviewed": {"reviewer": REVIEWER},
    "own": {"reviewer": {"name": "own"}},
}
"""Policies by name, with what their `deadLetter` has besides a topic."""


def rendered_policy() -> tuple[Manifest, Manifest]:
    """Return the chart's policy and its binding."""
    objects = rendered()
    return (
        one(objects, "ValidatingAdmissionPolicy", POLICY),
        one(objects, "ValidatingAdmissionPolicyBinding", POLICY),
    )


def rule_of(words: str) -> int:
    """Return the place of the only rule whose message has these words."""
    rules = rendered_policy()[0]["spec"]["validations"]
    (found,) = [at for at, rule in enumerate(rules) if words in rule["message"]]
    return found


def without(namespace: str, rules: Iterable[str]) -> list[Manifest]:
    """Return the policy without some rules, in force in one namespace alone."""
    policy, binding = rendered_policy()
    gone = {rule_of(each) for each in rules}
    kept = [each for at, each in enumerate(policy["spec"]["validations"]) if at not in gone]
    policy["spec"]["validations"] = kept
    if namespace == TRUSTING:
        policy["spec"]["variables"][1]["expression"] = "true"
    policy["metadata"]["name"] = binding["metadata"]["name"] = f"{POLICY}-{namespace}"
    binding["spec"] |= {
        "policyName": f"{POLICY}-{namespace}",
        "matchResources": {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        },
    }
    return [policy, binding]


def without_own_rules(crd: Manifest) -> Manifest:
    """Return the CRD without the rules of its spec, so that the policy alone is tested."""
    (version,) = crd["spec"]["versions"]
    version["schema"]["openAPIV3Schema"]["properties"]["spec"].pop(VALIDATIONS)
    return crd


def _roles() -> list[Manifest]:
    """Return the roles that the chart does not have."""
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": f"troth-{name}"},
            "rules": [{"apiGroups": ["troth.dev"]} | rule],
        }
        for name, rule in (
            (
                "approve-others",
                {
                    "resources": ["topicpolicies"],
                    "resourceNames": ["payments"],
                    "verbs": ["approve"],
                },
            ),
            (
                "status",
                {
                    "resources": ["deadletterreviews/status", "deadletterreviews"],
                    "verbs": ["get", "update", "patch"],
                },
            ),
        )
    ]


def _bindings(namespace: str) -> Iterator[Manifest]:
    for user, roles in ROLES.items():
        account = {"kind": "ServiceAccount", "name": user, "namespace": ACCOUNTS.get(user, "")}
        person = {"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}
        for role in (*roles, "view"):
            yield {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": f"{user}-{role}", "namespace": namespace},
                "roleRef": {
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "ClusterRole",
                    "name": f"troth-{role}",
                },
                "subjects": [account if user in ACCOUNTS else person],
            }


async def arrange(sandbox: Sandbox, variants: dict[str, tuple[str, ...]]) -> None:
    """Make users, namespaces and reviews, then put the policy in force.

    `variants` has the rules that are missing in a namespace.
    """
    chart = [each for each in rendered() if each["kind"] == "ClusterRole"]
    async with Person(sandbox.kubeconfig) as admin:
        for namespace in (NAMESPACE, GITOPS, *variants):
            await admin.put(builders.namespace(namespace))
        for name, namespace in ACCOUNTS.items():
            account = {"name": name, "namespace": namespace}
            await admin.put({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
        await admin.put(*chart, *_roles())
        for namespace, rules in variants.items():
            await admin.put(*_bindings(namespace))
            for name, (spec, status) in STATES.items():
                review = dead_letter_review(name, namespace, **spec)
                by = review["spec"]["requestedBy"].format(namespace=namespace)
                review["spec"]["requestedBy"] = by
                await make(admin, review, status)
            await admin.put(
                *(topic_policy(namespace, name, **each) for name, each in POLICIES.items())
            )
            await admin.put(*without(namespace, rules))
        for namespace, rules in variants.items():
            await until(lambda: _in_force(admin, namespace, rules), bool)  # noqa: B023 - awaited


def with_policies(variants: dict[str, tuple[str, ...]]) -> Iterator[Sandbox]:
    """Yield a control plane with the policy in namespaces, without the rules that miss there."""
    for sandbox in separate_sandbox():
        crd = yaml.safe_load((REPOSITORY / "crds" / "deadletterreviews.yaml").read_text())
        sandbox.kubectl("create", "-f", "-", stdin=json.dumps(without_own_rules(crd)))
        sandbox.kubectl("create", "-f", str(REPOSITORY / "crds" / "topicpolicies.yaml"))
        await_crds(sandbox)
        asyncio.run(arrange(sandbox, variants))
        yield sandbox


def topic_policy(namespace: str, name: str, **letters: Any) -> Manifest:
    letters = {"topic": f"prod.dead.{name}"} | letters
    return messaging.policy(name, namespace, deadLetter=letters)


async def make(admin: Person, review: Manifest, status: Manifest) -> None:
    """Create a review with a status, before the policy is in force."""
    await admin.create(review)
    if status:
        await admin.edit(REVIEW, Ref.of(review), {"status": status}, subresource="status")


async def _in_force(admin: Person, namespace: str, rules: tuple[str, ...]) -> bool:
    """Return whether the API server enforces the rules of a namespace, by one that is there."""
    words = "spec.requestedBy cannot change"
    change: Manifest = {"spec": {"requestedBy": "eve"}}
    if words in rules:
        words, change = "spec.withdrawal cannot change", {"spec": {"withdrawal": None}}
    answer = await refusal(admin.edit(REVIEW, Ref(namespace, "withdrawn"), change, dryRun="All"))
    return answer != ""


async def refusal(asked: Awaitable[Any]) -> str:
    """Return why the API server rejects a request, empty if it accepts it."""
    try:
        await asked
    except Refused as refused:
        return str(refused)
    return ""


# Requests

Change = Callable[[Manifest], Any]


def set_to(**fields: Any) -> Change:
    """Return a change of fields of a spec; None removes one."""

    def change(spec: Manifest) -> None:
        for name, value in fields.items():
            spec.pop(name, None)
            spec |= {} if value is None else {name: value}

    return change


async def by_put(user: Person, found: Manifest, change: Change) -> None:
    changed = copy.deepcopy(found)
    change(changed["spec"])
    await user.ask("PUT", REVIEW, Ref.of(found), body=changed, dryRun="All")


async def by_merge_patch(user: Person, found: Manifest, change: Change) -> None:
    spec = copy.deepcopy(found["spec"])
    change(spec)
    gone = {name: None for name in found["spec"] if name not in spec}
    await user.edit(REVIEW, Ref.of(found), {"spec": spec | gone}, dryRun="All")


async def by_json_patch(user: Person, found: Manifest, change: Change) -> None:
    spec = copy.deepcopy(found["spec"])
    change(spec)
    await user.ask(
        *("PATCH", REVIEW, Ref.of(found)),
        body=[{"op": "replace", "path": "/spec", "value": spec}],
        content="application/json-patch+json",
        dryRun="All",
    )


async def by_apply(user: Person, found: Manifest, change: Change) -> None:
    """Apply the spec as a new field manager, which can remove no field of another one."""
    spec = copy.deepcopy(found["spec"])
    change(spec)
    body = {name: found[name] for name in ("apiVersion", "kind")} | {"spec": spec}
    body["metadata"] = {name: found["metadata"][name] for name in ("name", "namespace")}
    await user.ask(
        *("PATCH", REVIEW, Ref.of(found)),
        body=body,
        content="application/apply-patch+yaml",
        fieldManager="forger",
        force="true",
        dryRun="All",
    )


TRANSPORTS = (by_put, by_merge_patch, by_json_patch, by_apply)


@dataclass
class Scene:
    """Users of a cluster in which the policy is in force."""

    sandbox: Sandbox
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    people: dict[str, Person] = field(default_factory=dict)

    async def user(self, name: str, impersonates: str = "") -> Person:
        """Return a connection of a user; empty for the administrator."""
        key = json.dumps([name, impersonates])
        if key not in self.people:
            person = Person(self._kubeconfig(name), impersonates)
            self.people[key] = await self.stack.enter_async_context(person)
        return self.people[key]

    def _kubeconfig(self, name: str) -> Any:
        if not name:
            return self.sandbox.kubeconfig
        if name in ACCOUNTS:
            return self.sandbox.service_account_kubeconfig(ACCOUNTS[name], name)
        return self.sandbox.user_kubeconfig(name)

    async def review(self, name: str, namespace: str = WHOLE) -> Manifest:
        return await (await self.user("")).the(REVIEW, Ref(namespace, name))
