"""`troth audit` with a user's rights on a real API server, and the resource FindingException."""

import asyncio
import json
import shlex
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sandbox import CommandError, Sandbox
from tests.builders import Manifest, finding_exception
from tests.cli.audit.shop import deployment
from tests.cluster.agreement import check
from tests.cluster.command import Ended, troth
from tests.cluster.dry_run import DryRun
from tests.cluster.person import until
from tests.resources.findings.test_exception import WRONG
from troth.audit.registry import RULE_BY_ID
from troth.audit.rule import Rule
from troth.cli.audit.gather import gather
from troth.resources.manifests import dump

RULE = RULE_BY_ID["TR701"]
VIEWED = "deployments.apps,statefulsets.apps,daemonsets.apps,jobs.batch,cronjobs.batch"


@pytest.fixture
def shop(established: Sandbox, namespace: str) -> Iterator[str]:
    """Yield a namespace with a Deployment that runs as the ServiceAccount default."""
    established.kubectl("apply", "-f", "-", stdin=dump(deployment("web", namespace)))
    established.kubectl("create", "serviceaccount", "ann", "-n", namespace)
    yield namespace
    for kind in ("clusterrole", "clusterrolebinding"):
        established.kubectl("delete", kind, namespace, "--ignore-not-found")


async def ann(sandbox: Sandbox, shop: str, resources: str, *, everywhere: bool) -> Path:
    """Return the kubeconfig of a user who may list these resources and nothing else."""
    name = shop if everywhere else "ann"
    where = () if everywhere else ("-n", shop)
    role = "clusterrole" if everywhere else "role"
    sandbox.kubectl("create", role, name, *where, "--verb=list", f"--resource={resources}")
    subject = f"--serviceaccount={shop}:ann"
    sandbox.kubectl("create", f"{role}binding", name, *where, f"--{role}={name}", subject)
    user = f"--as=system:serviceaccount:{shop}:ann"
    scope = ("-A",) if everywhere else where

    async def may() -> str:
        asked = ("auth", "can-i", "list", "deployments.apps", user, *scope)
        try:
            return sandbox.kubectl(*asked).strip()
        except CommandError:  # the answer "no" ends with exit code 1
            return "no"

    await until(may, lambda answer: answer == "yes")
    return sandbox.service_account_kubeconfig(shop, "ann")


async def audit(kubeconfig: Path, *arguments: str, rule: str = RULE.id) -> Ended:
    return await troth(kubeconfig, "audit", "--rule", rule, *arguments)


def findings(ended: Ended) -> list[Any]:
    found: list[Any] = json.loads(ended.output)["findings"]
    return found


# Rights


async def test_administrator_sees_all_that_a_rule_reads(established: Sandbox, shop: str) -> None:
    ended = await audit(established.kubeconfig, "-n", shop, "-o", "json", "--fail-on", "medium")
    (finding,) = findings(ended)
    assert finding["subject"] == {"kind": "Deployment", "namespace": shop, "name": "web"}
    assert (ended.code, ended.errors) == (1, "")
    every = await troth(established.kubeconfig, "audit", "-n", shop, "-o", "json")
    assert json.loads(every.output)["summary"]["complete"] is True


async def test_user_who_may_not_list_pods_is_told_and_never_gets_a_clean_exit(
    established: Sandbox, shop: str
) -> None:
    kubeconfig = await ann(established, shop, VIEWED, everywhere=True)
    ended = await audit(kubeconfig)
    assert ended.code == 2
    assert "Pod (you are not allowed to list it): TR701" in ended.output
    assert f"Deployment {shop}/web" in ended.output, "what was seen is reported all the same"
    assert (await audit(kubeconfig, "--allow-unseen")).code == 0


async def test_user_of_one_namespace_sees_that_namespace(established: Sandbox, shop: str) -> None:
    kubeconfig = await ann(established, shop, f"pods,{VIEWED}", everywhere=False)
    ended = await audit(kubeconfig, "-n", shop, "--fail-on", "medium")
    assert ended.code == 1
    assert f"Deployment {shop}/web" in ended.output
    assert "Not seen" not in ended.output
    assert (await audit(kubeconfig)).code == 2, "it may not list them in all namespaces"


async def test_user_of_one_namespace_does_not_see_resources_of_troth_elsewhere(
    established: Sandbox, shop: str
) -> None:
    kubeconfig = await ann(
        established, shop, f"findingexceptions.troth.dev,{VIEWED}", everywhere=False
    )
    ended = await audit(kubeconfig, "-n", shop, rule="TR506")
    assert ended.code == 2
    assert f"you are allowed to list it in the namespace {shop} alone" in ended.output


async def test_kind_that_the_cluster_does_not_serve_is_not_missed(
    established: Sandbox, shop: str
) -> None:
    """The API server forbids a list before it looks whether there is such a kind."""
    kubeconfig = await ann(established, shop, VIEWED, everywhere=True)
    rule: Rule = replace(RULE, reads=frozenset({"HTTPRoute", "Ingress"}))

    def gathered() -> set[str]:
        found = gather(
            None,
            [rule],
            datetime.now(UTC),
            namespace="",
            own_namespace="troth-system",
            kubeconfig=kubeconfig,
            context=None,
            secret_metadata=False,
        )
        return found.denied & rule.reads

    assert await asyncio.to_thread(gathered) == {"Ingress"}


# Fixes


async def test_fix_that_kubectl_applies_removes_the_finding(
    established: Sandbox, shop: str
) -> None:
    admin = established.kubeconfig
    (finding,) = findings(await audit(admin, "-n", shop, "-o", "json"))
    fix = (await audit(admin, "-n", shop, "--fix", finding["id"])).output
    established.kubectl("apply", "-f", "-", stdin=fix)
    (command,) = [line for line in fix.splitlines() if line.startswith("# kubectl")]
    program, *words = shlex.split(command.removeprefix("# "))
    assert program == "kubectl"
    established.kubectl(*words)
    assert findings(await audit(admin, "-n", shop, "-o", "json")) == []


# Exceptions


async def test_exception_is_listed_with_its_rules_owner_and_end(
    established: Sandbox, shop: str
) -> None:
    exception = finding_exception(namespace=shop, now=datetime.now(UTC), rules=["TR701", "TR702"])
    established.kubectl("apply", "--validate=strict", "-f", "-", stdin=dump(exception))
    heading, row = established.kubectl("get", "fex", "-n", shop).splitlines()
    assert heading.split() == ["NAME", "RULES", "OWNER", "EXPIRES", "AGE"]
    assert row.split()[:4] == [
        "legacy",
        '["TR701","TR702"]',
        "team-legacy",
        exception["spec"]["expiresAt"],
    ]
    ended = await audit(established.kubeconfig, "-n", shop, "--fail-on", "info")
    assert (ended.code, ended.output) == (0, "no findings; 1 excepted\n")


def test_valid_exception_is_accepted(dry_run: DryRun) -> None:
    objects = [{"kind": "Deployment", "name": "web"}, {"kind": "TrustDomain", "name": "web"}]
    specs: list[dict[str, Any]] = [{}, {"objects": objects}]
    for spec in specs:
        exception: Manifest = finding_exception(namespace="default", **spec)
        assert check(exception, dry_run).accepted


@pytest.mark.parametrize(("spec", "field", "words"), WRONG)
def test_invalid_exception_is_rejected_as_the_model_rejects_it(
    dry_run: DryRun, spec: dict[str, Any], field: str, words: str
) -> None:
    del field, words
    assert not check(finding_exception(namespace="default", **spec), dry_run).accepted
