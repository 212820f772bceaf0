"""The chart's admission policy that limits the operator's writes of brokers and topic policies."""

from collections.abc import AsyncIterator

import pytest

from tests import messaging
from tests.cluster import chart
from tests.cluster.person import Manifest, Person, Refused, until
from tests.cluster.stage import Stage
from troth.planning.grants.finalizer import FINALIZER
from troth.resources.references import Ref

LIMIT = "the operator may change only the status and the finalizers of this resource"
NAMES = {"MessageBroker": "main", "TopicPolicy": "orders"}
SPECS: dict[str, Manifest] = {
    "MessageBroker": {"mode": "Observe"},
    "TopicPolicy": {"onDelete": "Retain"},
}
FOREIGN: dict[str, Manifest] = {
    "labels": {"metadata": {"labels": {"team": "x"}}},
    "annotations": {"metadata": {"annotations": {"note": "x"}}},
    "owners": {"metadata": {"ownerReferences": None}},
}
"""Patches of metadata that the operator does not need."""
WHOLE = {
    "spec": SPECS["TopicPolicy"],
    "metadata": {"labels": {"a": "b"}, "annotations": {"a": "b"}},
}
"""Patch that several clauses of the policy deny: it shows whether the policy is in force."""


@pytest.fixture
async def operator(stage: Stage) -> AsyncIterator[Person]:
    """Yield the operator's account, once the policy is in force for it."""
    rules = chart.finalizer_policy(stage.name)
    owner = await stage.person.the("Namespace", Ref("", stage.shop))
    owners = [{"apiVersion": "v1", "kind": "Namespace", "name": stage.shop}]
    owners[0]["uid"] = owner["metadata"]["uid"]
    for each in (messaging.broker("main", stage.shop), messaging.policy("orders", stage.shop)):
        each["metadata"]["ownerReferences"] = owners
        await stage.person.put(each)
    await chart.install(stage.person, [*_right_to_delete(stage), *rules])
    try:
        account = f"system:serviceaccount:{stage.own}:{stage.own}"
        async with Person(stage.sandbox.kubeconfig, impersonates=account) as operator:
            await until(lambda: _refusal(operator, "TopicPolicy", stage.shop, WHOLE), bool)
            yield operator
    finally:
        await chart.uninstall(stage.person, rules)


def _right_to_delete(stage: Stage) -> list[Manifest]:
    """Return a right without which the sandbox's API server lets nobody change owners."""
    metadata = {"name": "delete", "namespace": stage.shop}
    version = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": metadata}
    role = {"kind": "Role", "name": "delete", "apiGroup": "rbac.authorization.k8s.io"}
    account = {"kind": "ServiceAccount", "name": stage.own, "namespace": stage.own}
    resources = ["messagebrokers", "topicpolicies"]
    rule = {"apiGroups": ["troth.dev"], "resources": resources, "verbs": ["delete"]}
    return [
        {**version, "kind": "Role", "rules": [rule]},
        {**version, "kind": "RoleBinding", "roleRef": role, "subjects": [account]},
    ]


async def _refusal(user: Person, kind: str, namespace: str, patch: Manifest) -> str:
    """Return the message with which a dry run of a patch is denied, "" if it is not."""
    try:
        await user.edit(kind, Ref(namespace, NAMES[kind]), patch, dryRun="All")
    except Refused as refusal:
        return str(refusal)
    return ""


def _patches(kind: str) -> dict[str, Manifest]:
    finalizers = {"metadata": {"finalizers": [FINALIZER]}}
    spec = {"spec": SPECS[kind]}
    return {**FOREIGN, "spec": spec, "spec with finalizers": {**finalizers, **spec}}


@pytest.mark.parametrize("kind", NAMES)
async def test_operator_changes_only_finalizers(stage: Stage, operator: Person, kind: str) -> None:
    for name, patch in _patches(kind).items():
        assert LIMIT in await _refusal(operator, kind, stage.shop, patch), name
        assert await _refusal(stage.person, kind, stage.shop, patch) == "", name
    for finalizers in ([FINALIZER], []):
        patch = {"metadata": {"finalizers": finalizers}}
        written = await operator.edit(kind, Ref(stage.shop, NAMES[kind]), patch)
        assert written["metadata"].get("finalizers", []) == finalizers
