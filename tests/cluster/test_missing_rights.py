"""A ServiceAccount that lacks a right: log and conditions name the right and the chart value."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from structlog.testing import capture_logs

from sandbox import Sandbox
from tests import builders
from tests.cluster import chart
from tests.cluster.audit import Right, granted
from tests.cluster.person import Manifest, until
from tests.cluster.stage import IDENTITY, Stage, staged
from troth.cluster.api import ApiServer
from troth.cluster.connection.connecting import configuration
from troth.cluster.denials import denial
from troth.cluster.errors import ApiError
from troth.cluster.resources import RESOURCES, REVIEWS
from troth.cluster.selection import Selection
from troth.planning.owned_objects import secret_ref
from troth.planning.trust_domain.watched_namespaces import UNREAD
from troth.resources.references import Ref
from troth.trust.declarations.unlisted import UNLISTED

KINDS = {
    f"{each.name}.{each.group}".rstrip("."): kind for kind, each in (RESOURCES | REVIEWS).items()
}


@pytest.fixture
async def rolling(established: Sandbox) -> AsyncIterator[Stage]:
    async with staged(established, rollouts=True) as setting:
        yield setting


def target(right: Right, stage: Stage) -> tuple[str, Ref, str]:
    """Return the kind, the place and the subresource of a request that needs a right."""
    resource, _, subresource = right.resource.partition("/")
    kind = KINDS[resource]
    known = RESOURCES.get(kind) or REVIEWS[kind]
    namespace = right.namespace or stage.shop if known.namespaced else ""
    return kind, Ref(namespace, right.name or "any"), subresource


async def request(server: ApiServer, right: Right, stage: Stage) -> None:
    """Send the request for which the operator, an issuer or a gateway needs a right."""
    kind, ref, subresource = target(right, stage)
    known = RESOURCES.get(kind) or REVIEWS[kind]
    place = {"name": ref.name, **({"namespace": ref.namespace} if ref.namespace else {})}
    version = f"{known.group}/{known.api_version}" if known.group else known.api_version
    manifest: Manifest = {"apiVersion": version, "kind": kind, "metadata": place}
    one = Selection(kind, right.namespace, fields=f"metadata.name={right.name}" * bool(right.name))
    match right.verb:
        case "list":
            async for _ in server.pages(one):
                pass
        case "watch":
            async for _ in server.watch(one, "1", 1.0):
                pass
        case "get":
            await server.get(kind, ref)
        case "create":
            await server.create(manifest)
        case "update":
            await server.replace(manifest)
        case "patch":
            await server.merge_patch(kind, ref, {"metadata": {}}, subresource)
        case "delete":
            await server.delete(kind, ref, "any")
        case verb:
            raise AssertionError(verb)


async def test_each_denied_request_names_its_right_and_the_chart_value(rolling: Stage) -> None:
    gateway = f"{rolling.name}-gateway"
    await rolling.install(
        f"issuers[0].domain={rolling.name}",
        *("gateway.enabled=true", "gateway.replicas=1", f"gateway.namespace={gateway}"),
    )
    rights = sorted(each for each in set(granted(rolling.installed)) if each.resource[0] != "/")
    account = Ref(rolling.shop, "default")
    async with ApiServer(await configuration(str(await rolling.kubeconfig_of(account)))) as server:
        for right in rights:
            with pytest.raises(ApiError) as caught:
                await request(server, right, rolling)
            told = denial(caught.value)
            assert f"ServiceAccount {account} has no right to {right.verb} {right.resource}" in told
            of_rollouts = right.resource.endswith((".apps", ".policy"))
            value = "rollouts.enabled" if of_rollouts else "rbac.create"
            assert f"set the chart value {value} to true" in told
    assert len(rights) > 60


async def take(stage: Stage, verb: str, resource: str, group: str) -> None:
    """Take a right from the operator, and wait until it is gone."""
    role = next(each for each in stage.installed if each["kind"] == "ClusterRole")
    for rule in role["rules"]:
        if resource in rule["resources"] and verb in rule["verbs"]:
            rule["resources"] = [each for each in rule["resources"] if each != resource]
            if others := [each for each in rule["verbs"] if each != verb]:
                role["rules"].append({**rule, "resources": [resource], "verbs": others})
    role["rules"] = [each for each in role["rules"] if each["resources"]]
    await stage.person.put(role)
    named, _, subresource = resource.partition("/")
    asked = {"verb": verb, "group": group, "resource": named, "subresource": subresource}
    await until(lambda: stage.person.may(Ref(stage.own, stage.own), **asked), lambda may: not may)


async def test_condition_names_the_right_that_a_write_lacks(stage: Stage) -> None:
    await take(stage, "create", "networkpolicies", "networking.k8s.io")
    await stage.domain()
    await stage.run()
    payments = await stage.identity("payments")
    for condition in ("NetworkEnforced", "Ready"):
        told = await stage.person.hears(IDENTITY, payments, condition, "WriteRefused", "False")
        assert (
            f"ServiceAccount {stage.own}/{stage.own} has no right to create "
            f"networkpolicies.networking.k8s.io in the namespace {stage.shop}; set the chart value "
            "rbac.create to true"
        ) in told


async def test_log_names_each_right_that_the_operator_lacks(stage: Stage) -> None:
    await take(stage, "create", "events", "events.k8s.io")
    await take(stage, "patch", "serviceidentities/status", "troth.dev")
    with capture_logs() as lines:
        await stage.domain()
        await stage.run()
        await stage.identity("payments")
        await logged(lines, "event lost", "create events.events.k8s.io in the namespace ")
        status = f"patch serviceidentities.troth.dev/status in the namespace {stage.shop}"
        await logged(lines, "write failed", status)
        await stage.operator.stop()
        await take(stage, "list", "services", "")
        copy = await stage.stand_by()
        await logged(lines, "watch failed", "list services at the cluster scope")
        assert not copy.operator.ready


@pytest.mark.long
async def test_deleted_namespace_does_not_keep_the_operator_from_the_others(stage: Stage) -> None:
    """Its Role is deleted with it, so an operator that starts later cannot list it."""
    deleted = await stage.namespace()
    await stage.install_for(stage.shop, deleted)
    await stage.person.delete("Namespace", Ref("", deleted))
    await stage.person.misses("Namespace", Ref("", deleted))
    await stage.domain()
    with capture_logs() as lines:
        await stage.run()
        await stage.person.ready(IDENTITY, await stage.identity("payments"))
        await logged(lines, "watch failed", f"list secrets in the namespace {deleted}")


async def test_namespace_being_deleted_does_not_keep_the_operator_from_the_others(
    stage: Stage,
) -> None:
    """Its Role is gone already, and a finalizer keeps the namespace."""
    ending = await stage.namespace()
    await stage.install_for(stage.shop, ending)
    held = builders.identity("held", ending)
    held["metadata"]["finalizers"] = ["example.com/held"]
    await stage.person.put(held)
    await stage.person.delete("Namespace", Ref("", ending))
    await stage.person.misses("Role", Ref(ending, f"{stage.own}-operator"))
    await stage.domain()
    with capture_logs() as lines:
        await stage.run()
        await stage.person.ready(IDENTITY, await stage.identity("payments"))
        await logged(lines, "watch failed", f"list secrets in the namespace {ending}")
    await stage.person.edit(IDENTITY, Ref.of(held), {"metadata": {"finalizers": []}})


async def test_namespace_that_cannot_be_listed_does_not_keep_the_operator_from_the_others(
    stage: Stage,
) -> None:
    """Its admin may delete the RoleBinding; once it is back, the namespace is planned by itself."""
    other = await stage.namespace()
    await stage.install_for(stage.shop, other)
    binding = Ref(other, f"{stage.own}-operator")
    await stage.person.delete("RoleBinding", binding)
    asked = {"verb": "list", "group": "", "resource": "secrets", "namespace": other}
    await until(lambda: stage.person.may(Ref(stage.own, stage.own), **asked), lambda may: not may)
    domain = await stage.domain()
    there = await stage.identity(
        "payments", other, ports=["https"], accepts=[builders.accept("web", namespace=stage.shop)]
    )
    here = await stage.identity("web", calls=[builders.call("payments", namespace=other)])
    with capture_logs() as lines:
        copy = await stage.run()
        await logged(lines, "watch failed", f"list secrets in the namespace {other}")
    await stage.person.hears(IDENTITY, here, "PeersAgree", UNLISTED, "False")
    told = await stage.person.hears("TrustDomain", domain, "NamespacesWatched", UNREAD, "False")
    assert other in told
    await stage.person.misses("Secret", secret_ref(there))
    assert copy.operator.ready
    await chart.install(stage.person, [each for each in stage.installed if Ref.of(each) == binding])
    for each in (here, there):
        await stage.person.hears(IDENTITY, each, "PeersAgree", "AllLive", "True")
        await stage.person.ready(IDENTITY, each)


async def logged(lines: Sequence[Mapping[str, Any]], event: str, right: str) -> None:
    """Wait for a log line that says that a right is missing."""

    async def look() -> list[str]:
        return [str(line.get("denied")) for line in lines if line["event"] == event]

    await until(look, lambda told: any(f"has no right to {right}" in each for each in told))
