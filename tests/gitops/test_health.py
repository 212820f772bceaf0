"""kstatus and Argo CD's health checks, of statuses that Troth writes."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import Manifest
from tests.gitops.judging import HEALTH, Verdict, argo_cd, kstatus
from tests.gitops.statuses import conditions, written
from troth.resources.kinds import KINDS, Kind

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
KSTATUS = {"Healthy": "Current", "Progressing": "InProgress", "Degraded": "Failed"}
"""kstatus's name of each health of Argo CD."""
UNSEEN = {
    True: "Waiting for Troth to reconcile the resource",
    False: "Waiting for Troth to reconcile the current generation",
}


@cache
def of_kind(name: str) -> list[Manifest]:
    """Return the resources of a kind, at each stage of a cluster's life."""
    return [each for each in _written() if each["kind"] == name]


@cache
def _written() -> list[Manifest]:
    return written()


def expected(resource: Manifest) -> Verdict:
    """Return the health of a resource and its message, as its conditions define it."""
    seen = resource["status"]["observedGeneration"]
    if seen != resource["metadata"]["generation"]:
        return Verdict("Progressing", UNSEEN[seen == -1])
    found = conditions(resource)
    ready = found["Ready"]
    if found["Stalled"]["status"] == "True":
        return Verdict("Degraded", ready["message"])
    return Verdict("Healthy" if ready["status"] == "True" else "Progressing", ready["message"])


@each_kind
def test_statuses_are_judged_as_their_conditions_say(kind: Kind) -> None:
    resources = of_kind(kind.name)
    wanted = [expected(each) for each in resources]
    assert Counter(each.status for each in wanted).keys() == KSTATUS.keys(), "each state occurs"
    assert argo_cd(resources, kind.name) == wanted
    assert [each.status for each in kstatus(resources)] == [KSTATUS[each.status] for each in wanted]


@each_kind
def test_message_of_troth_reaches_kstatus(kind: Kind) -> None:
    resources = [
        each for each in of_kind(kind.name) if expected(each).message not in UNSEEN.values()
    ]
    told = {
        (said.message, expected(each).message)
        for each, said in zip(resources, kstatus(resources), strict=True)
        if expected(each).status != "Healthy"
    }
    assert told
    assert all(message == troths for message, troths in told), told


@each_kind
def test_resource_without_a_status_is_not_healthy(kind: Kind) -> None:
    bare = {name: part for name, part in of_kind(kind.name)[0].items() if name != "status"}
    assert argo_cd([bare], kind.name) == [Verdict("Progressing", UNSEEN[True])]


@each_kind
def test_health_check_passes_the_test_that_argo_cd_runs(kind: Kind) -> None:
    folder = HEALTH / kind.name
    tests = yaml.safe_load((folder / "health_test.yaml").read_text())["tests"]
    resources = [_input(folder, each) for each in tests]
    assert argo_cd(resources, kind.name) == [Verdict(**each["healthStatus"]) for each in tests]
    used = {each["inputPath"] for each in tests}
    assert used == {f"testdata/{file.name}" for file in (folder / "testdata").iterdir()}


def test_every_kind_has_the_same_health_check() -> None:
    assert {each.name for each in HEALTH.iterdir()} == {kind.name for kind in KINDS}
    assert len({(HEALTH / kind.name / "health.lua").read_text() for kind in KINDS}) == 1


def _input(folder: Path, test: dict[str, Any]) -> Manifest:
    loaded: Manifest = yaml.load((folder / test["inputPath"]).read_text(), _Texts)
    return loaded


class _Texts(yaml.SafeLoader):
    """Loads times as text, as the API server returns them."""


_Texts.yaml_implicit_resolvers = {
    letter: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
