"""An admission webhook that never answers: the Lease does not wait behind the writes it delays."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.cluster.faults.admission.policies import API, CONFIG_MAPS
from tests.cluster.person import Manifest
from tests.cluster.stage import DOMAIN, IDENTITY, QUICK, Stage
from troth.resources.references import Ref

HANGS = 9
"""Seconds that each write takes, longer than the Lease is valid."""
HELD = "held"
AT_ONCE = 8
"""Writes that wait for the webhook at once, at least."""


@asynccontextmanager
async def silent() -> AsyncIterator[tuple[int, set[asyncio.StreamWriter]]]:
    """Serve connections without an answer; yield the port, and the connections that are open."""
    connections: set[asyncio.StreamWriter] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.add(writer)
        while await reader.read(4096):
            pass
        connections.discard(writer)
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], connections


def webhook(name: str, port: int) -> Manifest:
    """Return the configuration of a webhook for ConfigMaps of labelled namespaces."""
    hook = {
        "name": name,
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "failurePolicy": "Fail",
        "timeoutSeconds": HANGS,
        "clientConfig": {"url": f"https://127.0.0.1:{port}/"},
        "rules": [CONFIG_MAPS.rule],
        "namespaceSelector": {"matchLabels": {HELD: name}},
    }
    kind = "ValidatingWebhookConfiguration"
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "webhooks": [hook]}


@pytest.mark.long
async def test_leader_keeps_its_lease_while_admission_delays_every_bundle(stage: Stage) -> None:
    assert QUICK.duration < HANGS
    person, name = stage.person, f"{stage.name}.example.com"
    for _ in range(4 * AT_ONCE):
        namespace = await stage.namespace()
        await person.edit("Namespace", Ref("", namespace), {"metadata": {"labels": {HELD: name}}})
    await stage.run()
    transitions: set[int] = set()
    async with silent() as (port, connections):
        await person.put(webhook(name, port))
        await stage.domain()
        longest = 0
        for _ in range(3 * HANGS * 2):
            await asyncio.sleep(0.5)
            assert stage.operator.operator.leadership.acting
            lease = await person.the("Lease", Ref(stage.own, "troth-operator"))
            transitions.add(lease["spec"].get("leaseTransitions", 0))
            longest = max(longest, len(connections))
        assert longest >= AT_ONCE
        assert len(transitions) == 1
        await person.delete("ValidatingWebhookConfiguration", Ref("", name))
    await person.ready(DOMAIN, Ref("", stage.name))
    await person.ready(IDENTITY, await stage.identity("payments"))
