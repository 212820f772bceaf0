"""`troth ready` asks for little, and no Lease makes it fail."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests import builders
from tests.builders import OWN, Manifest
from tests.cli.api_server import Served, serving
from tests.cli.running import Ended, troth
from troth.reconcile.operator import LEASE
from troth.resources.kinds import EVERY_KIND

NONE: dict[str, list[Manifest]] = {kind.plural: [] for kind in EVERY_KIND}


def ready(served: Served) -> Ended:
    return troth("ready", "--namespace", OWN, "--kubeconfig", str(served.kubeconfig))


def lease(**spec: Any) -> Manifest:
    now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    usual = {"holderIdentity": "troth-0", "leaseDurationSeconds": 10, "renewTime": now}
    return {"metadata": {"namespace": OWN, "name": LEASE}, "spec": usual | spec}


def test_one_page_of_metadata_shows_that_a_kind_is_served(tmp_path: Path) -> None:
    objects = NONE | {"serviceidentities": [builders.identity(), builders.identity("web")]}
    objects |= {"leases": [lease()]}
    with serving(tmp_path, objects, page=1) as served:
        ended = ready(served)
    assert (ended.code, ended.errors) == (0, "")
    assert ended.lines[-1] == "troth-0 leads"
    assert served.requests == [*((kind.plural, True) for kind in EVERY_KIND), ("leases", False)]


@pytest.mark.parametrize(
    "spec",
    [
        {"renewTime": "soon"},
        {"renewTime": "2026-11-28T12:00:00"},
        {"renewTime": 7},
        {"renewTime": "9999-12-31T23:59:59Z"},
        {"leaseDurationSeconds": "long"},
        {"renewTime": "2026-01-01T00:00:00Z"},
        {"holderIdentity": ""},
    ],
)
def test_malformed_or_expired_lease_has_no_leader(tmp_path: Path, spec: dict[str, Any]) -> None:
    with serving(tmp_path, NONE | {"leases": [lease(**spec)]}) as served:
        ended = ready(served)
    assert ended.code == 1
    assert ended.errors.startswith(f"no operator leads in the namespace {OWN}; see kubectl logs")


def test_name_of_the_leader_cannot_control_the_terminal(tmp_path: Path) -> None:
    with serving(tmp_path, NONE | {"leases": [lease(holderIdentity="\x1b[31m")]}) as served:
        assert ready(served).lines[-1] == r"\x1b[31m leads"
