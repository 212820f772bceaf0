"""An auditor in this process, and CRDs of reports."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from sandbox.cluster import is_established
from tests.cluster.person import NOT_FOUND, Manifest, Person, Refused, until
from tests.cluster.stage import Requests
from troth.audit.registry import RULE_BY_ID
from troth.audit.reports.documents import ReportAPI
from troth.audit.rule import Rule
from troth.auditor.auditor import FIELD_MANAGER, Auditor, Settings, Timing, TrafficSource
from troth.cluster.api import ApiServer
from troth.cluster.connection.connecting import configuration
from troth.cluster.resources import resource_of
from troth.resources.references import Ref

ONE = (RULE_BY_ID["TR701"],)
"""The rule of tests that say which findings there are."""
QUICK = Timing(collect=0.1, pause=0.1, retry=1.0, discovery=0.5, traffic=0.5)


@dataclass
class Running:
    """An auditor that runs, and its requests."""

    auditor: Auditor
    requests: Requests
    registry: CollectorRegistry

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)

    async def settles(self) -> None:
        """Wait until it has evaluated what was written before, and nothing comes for a while."""
        quiet, seen = 0, (-1, -1)

        async def look() -> bool:
            nonlocal quiet, seen
            now = self.auditor.evaluations, len(self.requests.made)
            busy = self.auditor.cache.dirty.is_set() or not self.auditor.written
            still = now == seen and not busy
            quiet, seen = (quiet + 1 if still else 0), now
            return quiet >= 8

        await until(look, bool)


@asynccontextmanager
async def running(
    kubeconfig: Path,
    own: str,
    *,
    rules: Iterable[Rule] = ONE,
    secret_metadata: bool = False,
    timing: Timing = QUICK,
    traffic: TrafficSource | None = None,
) -> AsyncIterator[Running]:
    """Run an auditor until the block ends. It must not have ended by itself."""
    requests, registry = Requests(), CollectorRegistry()
    config = await configuration(str(kubeconfig))
    server = ApiServer(config, _but_discovery(requests), field_manager=FIELD_MANAGER, page=2)
    async with server:
        settings = Settings(own, "test", secret_metadata, timing, tuple(rules))
        auditor = Auditor(server, settings, registry=registry, traffic=traffic)
        task = asyncio.create_task(auditor.run())
        try:
            yield Running(auditor, requests, registry)
            assert not task.done(), task.result()
        finally:
            task.cancel()
            await asyncio.wait({task})


def _but_discovery(requests: Requests) -> Any:
    """Return the observer of requests; looks at the served APIs are regular and left out."""

    def note(verb: str, resource: str, outcome: str) -> None:
        if resource != "discovery":
            requests.note(verb, resource, outcome)

    return note


def report_crds(api: ReportAPI) -> list[Manifest]:
    """Return CRDs with which the API server stores reports of any form."""
    group, _, version = api.api_version.partition("/")
    return [
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{plural}.{group}"},
            "spec": {
                "group": group,
                "scope": scope,
                "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                "versions": [
                    {
                        "name": version,
                        "served": True,
                        "storage": True,
                        "schema": {
                            "openAPIV3Schema": {
                                "type": "object",
                                "x-kubernetes-preserve-unknown-fields": True,
                            }
                        },
                        "additionalPrinterColumns": [
                            {
                                "name": name,
                                "type": "integer",
                                "jsonPath": f".summary.{name.lower()}",
                            }
                            for name in ("Fail", "Warn", "Error", "Skip")
                        ],
                    }
                ],
            },
        }
        for kind, scope in ((api.kind, "Namespaced"), (api.cluster_kind, "Cluster"))
        for plural in [resource_of(kind).name]
    ]


async def install(person: Person, api: ReportAPI) -> None:
    """Install CRDs of reports, and wait until their objects can be listed.

    A CRD deleted before that can stay for minutes: its finalizer lists the instances, and is told
    "storage is (re)initializing".
    """
    for each in report_crds(api):
        await person.put(each)
        await person.sees(
            "CustomResourceDefinition",
            Ref.of(each),
            is_established,
        )
    for kind in (api.kind, api.cluster_kind):
        await until(partial(_is_listed, person, kind), bool)


async def _is_listed(person: Person, kind: str) -> bool:
    try:
        await person.all(kind)
    except Refused as refusal:
        if refusal.status != NOT_FOUND:
            raise
        return False
    return True


async def remove(person: Person, api: ReportAPI) -> None:
    """Delete CRDs of reports, and wait until they are gone."""
    for each in report_crds(api):
        await person.delete("CustomResourceDefinition", Ref.of(each))
    for each in report_crds(api):
        await person.misses("CustomResourceDefinition", Ref.of(each))
