"""Every field of a WebhookEndpoint is changed and changed back.

The change takes effect in the part named here. After the field is changed back, the gateway's
configuration, Troth's Secrets and the status equal those before. The fields are those of the
generated CRD.
"""

import asyncio
import base64
import hashlib
import json
from typing import Any

import pytest

from tests.reconcile.accounts import stored_status
from tests.reconcile.fields import NOTHING, Change, Field, changed
from tests.reconcile.refused import REFUSED
from tests.reconcile.serving import Running, Server, running
from tests.reconcile.webhook_fields import (
    CHANGES,
    DECLARED,
    FIELDS,
    KEPT,
    KEYS,
    STATUS,
    TOLD,
    UNSERVED,
    cluster,
)
from tests.webhook_scene import PROPAGATION
from troth.resources.references import Ref


def account(server: Server) -> dict[tuple[str, str], Any]:
    """Return everything about webhooks, without random values and history."""
    found: dict[tuple[str, str], Any] = {}
    for (kind, ref), each in server.objects.items():
        if kind == "WebhookEndpoint":
            found[STATUS, str(ref)] = _without_past(stored_status(each))
        if kind == "Secret" and each.get("type") == "troth.dev/webhook":
            data = {name: base64.b64decode(value) for name, value in each["data"].items()}
            found[TOLD, str(ref)] = json.loads(data.pop("endpoint.json"))
            found[KEPT, str(ref)] = (each["metadata"]["labels"], sorted(data))
            found[KEYS, str(ref)] = hashlib.sha256(repr(sorted(data.items())).encode()).digest()
        if kind == "Secret" and each.get("type") == "troth.dev/webhook-keys":
            found[KEPT, str(ref)] = (each["metadata"]["labels"], len(each["data"]))
    return found


PAST = {"observedGeneration", "lastTransitionTime", "fingerprint", "id"}


def _without_past(part: Any) -> Any:
    match part:
        case dict():
            return {name: _without_past(each) for name, each in part.items() if name not in PAST}
        case list():
            return [_without_past(each) for each in part]
        case _:
            return part


def differing(one: dict[Any, Any], other: dict[Any, Any]) -> set[tuple[str, str]]:
    return {part for part in one.keys() | other.keys() if one.get(part) != other.get(part)}


@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_field_takes_effect_and_leaves_no_trace(field: Field) -> None:
    change = CHANGES[str(field)]

    async def story() -> None:
        server = Server(cluster())
        async with running(server, due=True) as it:
            await it.settle()
            await it.live(PROPAGATION)
            start = account(server)
            if str(field) in REFUSED:
                await refuses(it, field, REFUSED[str(field)])
            before, after = changed(field, change, server.objects, DECLARED)
            await it.put(after)
            await it.live(PROPAGATION)
            effect = differing(start, account(server))
            if change.shows == NOTHING:
                assert effect == set()
            else:
                assert change.shows in {what for what, _ in effect}, sorted(effect)
            mine = f"{Ref.of(after).name}", f"{Ref.of(after).name}-webhook"
            assert all(where.endswith(mine) for _, where in effect), "of others nothing changes"
            await it.put(before)
            await it.live(PROPAGATION)
            trace = {part for part, _ in differing(start, account(server))} - {KEYS}
            assert trace == {change.leaves} - {""}

    asyncio.run(story())


async def refuses(it: Running, field: Field, change: Change) -> None:
    """Make a change that Troth refuses or waits for, assert that it says so, and undo it."""
    before, after = changed(field, change, it.server.objects, DECLARED)
    await it.put(after)
    ready = it.server.condition("WebhookEndpoint", Ref.of(after), "Ready")
    assert (ready["status"], ready["reason"]) == ("False", change.refused)
    assert ready["message"]
    await it.put(before)


def test_every_field_has_its_change_and_every_change_its_field() -> None:
    assert {str(each) for each in FIELDS} == CHANGES.keys()


def test_declared_endpoints_are_ready() -> None:
    """Otherwise a field may show no effect because its endpoint is not ready."""

    async def story() -> None:
        server = Server(cluster())
        async with running(server, due=True) as it:
            await it.settle()
            await it.live(PROPAGATION)
            for each in DECLARED:
                if each["metadata"]["name"] in UNSERVED:
                    continue
                ready = server.condition("WebhookEndpoint", Ref.of(each), "Ready")
                assert ready["status"] == "True", (Ref.of(each), ready)

    asyncio.run(story())
