"""A cluster that Flux keeps as the repository says, from `examples/gitops/flux`."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sandbox import Sandbox
from sandbox.control_plane import free_port
from sandbox.processes import Tether, tail
from tests.builders import Manifest
from tests.gitops import flux
from tests.gitops.judging import Verdict, kstatus
from tests.gitops.repository import Repository
from tests.gitops.waiting import until

ROOT = Path(__file__).parents[2]
OWN = "troth-system"
TROTH_KINDS = "td,sid,mb,tp,wh,cr"
WRITTEN = f"{TROTH_KINDS},secrets,configmaps,networkpolicies"
ATTEMPT_ENDS = (
    "ReconciliationSucceeded",
    "HealthCheckFailed",
    "ReconciliationFailed",
    "BuildFailed",
)
"""Reasons of Ready once Flux has tried a revision."""


class Fleet:
    """The cluster, the repository, and Troth with the rights that the chart gives it."""

    def __init__(self, cluster: Sandbox, repository: Repository, tether: Tether) -> None:
        self.cluster = cluster
        self.repository = repository
        self.unseen: list[Verdict] = []
        """What kstatus said of the declared resources before Troth ran."""
        self._tether = tether
        self._looks = 0

    @property
    def tree(self) -> Path:
        return self.repository.tree

    def get(self, *what: str) -> Any:
        return json.loads(self.cluster.kubectl("get", *what, "-o", "json"))

    def exists(self, *what: str) -> bool:
        return bool(self.cluster.kubectl("get", *what, "--ignore-not-found", "-o", "name"))

    def resources(self, kinds: str = TROTH_KINDS) -> list[Manifest]:
        found: list[Manifest] = self.get(kinds, "-A")["items"]
        return found

    def versions(self) -> dict[str, str]:
        """Return the version of every object that Troth or a person may write."""
        return {
            each["metadata"]["uid"]: each["metadata"]["resourceVersion"]
            for each in self.resources(WRITTEN)
        }

    def look(self, kind: str, name: str) -> None:
        """Let Flux reconcile an object now, as `flux reconcile` does; wait until it has begun."""
        self._looks += 1
        token = f"look-{self._looks}"
        asked = f"reconcile.fluxcd.io/requestedAt={token}"
        place = (f"{kind}/{name}", "-n", flux.NAMESPACE)
        self.cluster.kubectl("annotate", "--overwrite", *place, asked)
        until(
            lambda: self.get(*place)["status"].get("lastHandledReconcileAt"),
            lambda handled: handled == token,
            self.logs,
        )

    def push(self, message: str) -> Manifest:
        """Push the work tree; return Ready of the Kustomization `shop` for that commit."""
        return self.applied(self.repository.push(message))

    def revert(self) -> None:
        """Revert the last commit and wait until everything is Ready again."""
        assert self.applied(self.repository.revert())["status"] == "True"

    def applied(self, revision: str) -> Manifest:
        self.look("gitrepository", "fleet")
        return self.verdict("kustomization", "shop", revision)

    def verdict(self, kind: str, name: str, revision: str = "") -> Manifest:
        """Wait until Flux has tried a revision; return the condition Ready."""

        def tried(found: Manifest) -> bool:
            status, ready = found.get("status", {}), condition(found, "Ready")
            return (
                revision in status.get("lastAttemptedRevision", "")
                and ready.get("status") in ("True", "False")
                and ready["reason"] in ATTEMPT_ENDS
                and ready["observedGeneration"] == found["metadata"]["generation"]
                and condition(found, "Reconciling").get("reason") != "Progressing"
            )

        place = (f"{kind}/{name}", "-n", flux.NAMESPACE)
        return condition(until(lambda: self.get(*place), tried, self.logs), "Ready")

    def start_troth(self) -> None:
        """Start the operator with the rights of the chart; there is no node for its pods."""
        kubeconfig = self.cluster.service_account_kubeconfig(OWN, "troth")
        self._tether.start(
            "troth",
            [
                *(sys.executable, "-m", "troth.cli", "run", "--kubeconfig", kubeconfig),
                *("--namespace", OWN, "--listen", f"127.0.0.1:{free_port()}"),
            ],
            log=self._tether.directory / "troth.log",
            env=os.environ | {"PYTHONPATH": str(ROOT / "operator"), "NO_COLOR": "1"},
        )

    def logs(self) -> str:
        files = sorted(self._tether.directory.glob("*.log"))
        return "\n".join(f"{file.stem}:\n{tail(file)}" for file in files)


def condition(resource: Manifest, type_: str) -> Manifest:
    listed = resource.get("status", {}).get("conditions", [])
    return next((each for each in listed if each["type"] == type_), {})


def edit(file: Path, before: str, after: str) -> None:
    """Replace text that must be in a file."""
    text = file.read_text()
    assert before in text, file
    file.write_text(text.replace(before, after))


@contextmanager
def fleet() -> Iterator[Fleet]:
    """Apply `examples/gitops/flux` to an empty cluster; yield it once all is Ready."""
    with Sandbox.start() as cluster:
        directory = cluster.directory / "gitops"
        directory.mkdir()
        with Tether(cluster.directory / "flux") as tether:
            tether.directory.mkdir()
            for file in flux.crds():
                cluster.kubectl("apply", "--server-side", "-f", str(file))
            cluster.await_crds()
            cluster.kubectl("create", "namespace", flux.NAMESPACE)
            flux.start(tether, cluster.kubeconfig)
            repository = Repository(directory)
            with repository.served() as url:
                found = Fleet(cluster, repository, tether)
                _fill(repository.tree, url)
                _bootstrap(found)
                yield found


def _fill(tree: Path, url: str) -> None:
    """Copy chart and examples, and change what this cluster, without a node, cannot have."""
    for each in ("charts/troth", "examples"):
        shutil.copytree(ROOT / each, tree / each)
    objects = tree / "examples" / "gitops" / "flux"
    source = objects / "10-source.yaml"
    source.write_text(re.sub("url: .*", f"url: {url}", source.read_text()))
    release = objects / "troth" / "release.yaml"
    for step in ("install", "upgrade"):
        edit(release, f"  {step}:\n", f"  {step}:\n    disableWait: true\n")
    edit(objects / "40-workloads.yaml", "wait: true", "wait: false")
    until_then = (datetime.now(UTC) + timedelta(days=60)).strftime("%Y-%m-%dT00:00:00Z")
    warehouse = tree / "examples" / "shop" / "24-warehouse.yaml"
    warehouse.write_text(
        re.sub('expiresAt: ".*"', f'expiresAt: "{until_then}"', warehouse.read_text())
    )


def _bootstrap(found: Fleet) -> None:
    revision = found.repository.push("The fleet")
    objects = found.tree / "examples" / "gitops" / "flux"
    found.cluster.kubectl("apply", "-k", str(objects))
    assert found.verdict("kustomization", "troth", revision)["status"] == "True"
    until(lambda: found.exists("sid", "payments", "-n", "shop"), bool, found.logs)
    found.unseen = kstatus(found.resources("sid,td"))
    found.start_troth()
    found.verdict("kustomization", "shop-workloads", revision)
