"""A witness records every state of its objects, though the API server ends its watches."""

import asyncio

import pytest

from tests.cluster.person import Manifest
from tests.cluster.stage import Stage
from tests.cluster.witness import Sight, Witness, existing
from troth.resources.references import Ref

NUMBERS = [str(number) for number in range(12)]
PAUSE = 0.25
"""Seconds between two writes: the watches end between them, and also without any."""


def note(stage: Stage, text: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "note", "namespace": stage.shop},
        "data": {"text": text},
    }


def witness(stage: Stage) -> Witness:
    """Return a witness whose watches last for one second each."""
    return Witness(stage.sandbox.kubeconfig, "ConfigMap", stage.shop, lifetime=1)


async def test_each_state_is_recorded_once_though_watches_end(stage: Stage) -> None:
    async with witness(stage) as notes:
        for text in NUMBERS:
            await stage.person.put(note(stage, text))
            await asyncio.sleep(PAUSE)
        seen = [each for each in await notes.everything() if each.name == "note"]
    assert [each.type for each in seen] == ["ADDED", *["MODIFIED"] * (len(NUMBERS) - 1)]
    assert [each.manifest["data"]["text"] for each in seen] == NUMBERS


async def test_lost_states_are_an_error(stage: Stage) -> None:
    expired = {"kind": "Status", "code": 410, "reason": "Expired"}
    async with witness(stage) as notes:
        with pytest.raises(AssertionError, match="states are missing"):
            notes._take({"type": "ERROR", "object": expired})


def test_only_objects_that_exist_in_the_namespaces_are_counted_each_once() -> None:
    def sight(type_: str, name: str, namespace: str) -> Sight:
        return Sight(0.0, type_, {"metadata": {"name": name, "namespace": namespace}})

    sights = [
        sight("ADDED", "web", "shop"),
        sight("MODIFIED", "web", "shop"),
        sight("ADDED", "web", "finance"),
        sight("DELETED", "left-by-another-test", "shop-before"),
        sight("ADDED", "left-by-another-test", "shop-before-that"),
        sight("ADDED", "ledger", "finance"),
        sight("DELETED", "ledger", "finance"),
    ]
    assert existing(sights, ["shop", "finance"]) == {Ref("shop", "web"), Ref("finance", "web")}
