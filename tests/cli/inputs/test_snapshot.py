"""A snapshot of a cluster has what Troth lists, and says which kinds the user may not list."""

import asyncio
import json
from pathlib import Path

import pytest

from tests import builders
from tests.builders import OWN, Manifest
from tests.cli.api_server import serving
from tests.cli.running import troth
from tests.cli.shop import written
from troth.cli.inputs.snapshot import read_cluster
from troth.cluster.resources import RESOURCES
from troth.reconcile.loop.informers import selections

KINDS = tuple(dict.fromkeys(each.kind for each in selections(OWN)))
NOTHING: dict[str, list[Manifest]] = {RESOURCES[kind].name: [] for kind in KINDS}


def test_all_kinds_that_troth_lists_are_read_unless_some_are_named(tmp_path: Path) -> None:
    with serving(tmp_path, NOTHING | {"namespaces": [builders.namespace("shop")]}) as served:
        found = asyncio.run(read_cluster(served.kubeconfig, None, OWN))
        everything = list(dict.fromkeys(plural for plural, _ in served.requests))
        served.requests.clear()
        asyncio.run(read_cluster(served.kubeconfig, None, OWN, ("Service", "Namespace")))
    assert everything == [RESOURCES[kind].name for kind in KINDS]
    assert [plural for plural, _ in served.requests] == ["namespaces", "services"]
    assert [each["kind"] for each in found.objects] == ["Namespace"]


@pytest.mark.parametrize("command", ["check", "plan", "graph", "grants"])
def test_kinds_that_the_user_may_not_list_are_reported_on_standard_error(
    tmp_path: Path, command: str
) -> None:
    (tmp_path / "shop").mkdir()
    files = ("-f", str(written(tmp_path / "shop")))
    with serving(tmp_path, NOTHING, forbidden=("secrets", "namespaces")) as served:
        ended = troth(command, *files, "--kubeconfig", str(served.kubeconfig), "-o", "json")
    lines = ended.errors.splitlines()
    unread = ["Namespace", "Secret"] if command in ("check", "plan") else ["Namespace"]
    assert lines == [f"{each}: omitted, because you are not allowed to list it" for each in unread]
    assert json.loads(ended.output)
