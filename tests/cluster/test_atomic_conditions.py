"""The upgrade of conditions that the API server merged by type to those that are replaced whole."""

import copy
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sandbox import CommandError, Sandbox
from tests import builders
from tests.cluster.agreement import schema_of
from tests.patience import PATIENCE
from troth.resources.kinds import KIND_BY_NAME
from troth.resources.metadata import VERSION
from troth.resources.schema.crd import custom_resource_definition

IDENTITY = KIND_BY_NAME["ServiceIdentity"]
GROUP = "upgrade.troth.example"
NAME = f"{IDENTITY.plural}.{GROUP}"
PLACE = f"{IDENTITY.plural}.{GROUP}/payments"


def crd(conditions: dict[str, Any]) -> str:
    """Return the CRD in a group of its own, with another list type of the conditions."""
    made = copy.deepcopy(custom_resource_definition(IDENTITY))
    made["metadata"]["name"], made["spec"]["group"] = NAME, GROUP
    made["spec"]["names"] |= {"shortNames": [], "categories": []}
    (version,) = made["spec"]["versions"]
    schema = copy.deepcopy(schema_of(IDENTITY))
    schema["properties"]["status"]["properties"]["conditions"] |= conditions
    version["schema"] = {"openAPIV3Schema": schema}
    return json.dumps(made)


BEFORE = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}


def condition(type_: str, status: str) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": "Tested",
        "message": "",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-11-24T12:00:00Z",
    }


TWICE = [condition("Ready", "True"), condition("Ready", "False")]
"""Conditions that the API server accepts only as an atomic list."""


@pytest.fixture
def before_the_upgrade(sandbox: Sandbox) -> Iterator[Sandbox]:
    try:
        sandbox.kubectl("apply", "-f", "-", stdin=crd(BEFORE))
        sandbox.await_crds(NAME, within=PATIENCE)
        yield sandbox
    finally:
        sandbox.kubectl("delete", "crd", NAME, "--ignore-not-found")


def create(sandbox: Sandbox) -> None:
    identity = {**builders.identity(namespace="default"), "apiVersion": f"{GROUP}/{VERSION}"}
    sandbox.kubectl("create", "-f", "-", stdin=json.dumps(identity))


def upgrade(sandbox: Sandbox) -> None:
    """Replace the CRD by the present one, and wait until the API server uses it."""
    made = json.loads(crd({}))
    current = json.loads(sandbox.kubectl("get", "crd", NAME, "-o", "json"))
    made["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"]
    sandbox.kubectl("replace", "-f", "-", stdin=json.dumps(made))
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            patch_status(sandbox, {"conditions": TWICE}, "--dry-run=server")
        except CommandError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return


def conditions(sandbox: Sandbox) -> Any:
    return json.loads(sandbox.kubectl("get", PLACE, "-o", "json"))["status"]["conditions"]


def apply_status(sandbox: Sandbox, listed: list[dict[str, Any]]) -> None:
    """Apply the status server-side, as `troth review` does."""
    made = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": IDENTITY.name,
        "metadata": {"name": "payments", "namespace": "default"},
        "status": {"conditions": listed},
    }
    sandbox.kubectl(
        *("apply", "--server-side", "--subresource=status", "--field-manager=troth-review"),
        *("--force-conflicts", "-f", "-"),
        stdin=json.dumps(made),
    )


def patch_status(sandbox: Sandbox, status: dict[str, Any], *options: str) -> None:
    sandbox.kubectl(
        *("patch", PLACE, "--subresource=status", "--type=merge", "--field-manager=troth"),
        *("-p", json.dumps({"status": status}), *options),
    )


def test_status_of_the_previous_crd_stays_readable_and_writable(
    before_the_upgrade: Sandbox,
) -> None:
    sandbox = before_the_upgrade
    create(sandbox)
    stored = [condition("Ready", "True"), condition("RolledOut", "False")]
    patch_status(sandbox, {"observedGeneration": 1, "conditions": stored})

    upgrade(sandbox)
    assert conditions(sandbox) == stored

    left = [condition("Ready", "False")]
    patch_status(sandbox, {"observedGeneration": 2, "conditions": left})
    assert conditions(sandbox) == left


def test_server_side_apply_after_the_upgrade_leaves_no_old_condition(
    before_the_upgrade: Sandbox,
) -> None:
    sandbox = before_the_upgrade
    create(sandbox)
    apply_status(sandbox, [condition("Ready", "True"), condition("RolledOut", "False")])
    upgrade(sandbox)
    left = [condition("Ready", "False")]
    apply_status(sandbox, left)
    assert conditions(sandbox) == left


def test_two_conditions_of_one_type_are_accepted_since_the_upgrade(
    before_the_upgrade: Sandbox,
) -> None:
    sandbox = before_the_upgrade
    create(sandbox)
    with pytest.raises(CommandError, match="Duplicate value"):
        patch_status(sandbox, {"conditions": TWICE})
    upgrade(sandbox)
    patch_status(sandbox, {"conditions": TWICE})
    assert conditions(sandbox) == TWICE
