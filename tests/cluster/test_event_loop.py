"""Hostile Secrets, which must not keep the operator's event loop from its lease and probes."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from http import HTTPStatus
from itertools import chain
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from sandbox import Sandbox
from sandbox.control_plane import free_port
from tests.cluster.measured_loop import MeasuredLoop, measured
from tests.cluster.person import Manifest, Person, Refused
from tests.cluster.stage import DOMAIN, Stage, staged
from tests.hostile_secrets import (
    GIVEN,
    OURS,
    crowded,
    of_authorities,
    secret,
    with_large_keys,
)
from tests.pki import builders as pki
from tests.webhook_builders import issued
from troth.pki.keys.private import private_key_pem
from troth.resources.algorithms import KeyAlgorithm
from troth.resources.references import Ref
from troth.serving.health import health_server

LONGEST_STALL = 0.25
ENTRIES = 20_000
"""Entries of a crowded Secret. A busy API server cannot create one of 100,000 in its 34 seconds for
a request; tests/reconcile measures what that one costs.
"""
TRIES = 5
ENDPOINT = "WebhookEndpoint"
FLEET = 500
AT_ONCE = 8
CLOSING = 0.5
"""Seconds in which TLS connections close; aiohttp does not wait for that."""


@pytest.mark.timeout(900)
@pytest.mark.long
def test_hostile_secrets_do_not_stall_the_event_loop(established: Sandbox) -> None:
    async def scene(loop: MeasuredLoop) -> None:
        async with staged(established) as stage:
            await play(stage, loop)

    measured(scene)


async def play(stage: Stage, loop: MeasuredLoop) -> None:
    elsewhere = await stage.namespace(label="none")
    await stage.domain()
    given = await stage.domain("-given", authority={"secretRef": {"name": "own-rsa-16384"}})
    endpoints = {
        name: issued("HTTPSignatures", secret=name, publicURL=f"https://hooks.example/{name}")
        for name in ("many-given", "rsa-16384-given", "megabyte-given")
    }
    for name, endpoint in endpoints.items():
        endpoint["metadata"] = {"name": name, "namespace": stage.shop}
        await stage.person.put(endpoint)
    # one half is listed when the operator starts, and the watch delivers the other
    kubeconfig = stage.sandbox.kubeconfig
    # costly for an API server as well
    await create(kubeconfig, crowded(stage.shop, {}, ENTRIES), at_once=1)
    await create(kubeconfig, [*with_large_keys(stage.shop), *of_authorities(stage.own)])
    await create(kubeconfig, fleet(elsewhere))
    loop.longest_stall = 0.0
    copy = await stage.stand_by()
    port, answers = free_port(), Counter[int]()
    async with health_server(
        "127.0.0.1",
        port,
        ready=lambda: copy.operator.ready,
        alive=lambda: True,
        registry=CollectorRegistry(),
    ):
        asked = asyncio.create_task(send_requests(f"http://127.0.0.1:{port}/healthz", answers))
        await copy.acting()
        await create(kubeconfig, chain(with_large_keys(elsewhere), fleet(stage.shop)))
        await create(kubeconfig, crowded(elsewhere, {}, ENTRIES), at_once=1)
        await conditions_explain(stage, given)
        await copy.settled()
        longest = loop.longest_stall
        asked.cancel()
        (done,) = await asyncio.gather(asked, return_exceptions=True)
    assert isinstance(done, asyncio.CancelledError), done
    assert answers.keys() == {200}
    assert longest < LONGEST_STALL


async def conditions_explain(stage: Stage, given: Ref) -> None:
    """Assert that each hostile Secret in use has a condition with a cause and a next step."""
    person = stage.person

    async def why(name: str, reason: str) -> str:
        ref = Ref(stage.shop, name)
        return await person.hears(ENDPOINT, ref, "SecretAvailable", reason, "False")

    assert f"has {ENTRIES} entries" in await why("many-given", "TooManyKeys")
    supported = "use Ed25519, ECDSA on P-256, or RSA of 2048 to 8192 bits"
    assert supported in await why("rsa-16384-given", "KeyUnusable")
    assert "larger than 16384 bytes" in await why("megabyte-given", "KeyUnusable")
    found = await person.hears(DOMAIN, given, "Ready", "UnsupportedKey", "False")
    assert "use one of ECDSA-P256" in found


def fleet(namespace: str) -> Iterator[Manifest]:
    """Yield half of an honest fleet's Secrets, and of honest senders' keys, with RSA-4096."""
    key = pki.key(KeyAlgorithm.RSA_4096)
    data = {
        "tls.crt": pki.leaf(pki.own_root(), algorithm=KeyAlgorithm.RSA_4096),
        "tls.key": private_key_pem(key),
    }
    for number in range(FLEET // 2):
        labels = OURS if number % 2 else GIVEN
        yield secret(f"w{number}-identity", namespace, labels, data)


async def create(kubeconfig: Path, manifests: Iterable[Manifest], at_once: int = AT_ONCE) -> None:
    """Make and create objects in a thread, so that the measured loop does not pay for them."""

    async def write() -> None:
        waiting = iter(manifests)

        async def work(person: Person) -> None:
            for manifest in waiting:
                await create_patiently(person, manifest)

        async with Person(kubeconfig) as person, asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(work(person))
        await asyncio.sleep(CLOSING)

    await asyncio.to_thread(asyncio.run, write())


async def create_patiently(person: Person, manifest: Manifest) -> None:
    """Create an object, and try again if the API server is late: it may have created it or not."""
    was_late = False
    for left in reversed(range(TRIES)):
        try:
            await person.create(manifest)
        except Refused as refusal:
            if refusal.status == HTTPStatus.CONFLICT and was_late:
                return
            if refusal.status != HTTPStatus.GATEWAY_TIMEOUT or not left:
                raise
            was_late = True
        else:
            return


class Late(Person):
    """Gets a number of answers instead of the API server's."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)

    async def create(self, manifest: Manifest) -> Manifest:
        status = self.answers.pop(0)
        if status >= HTTPStatus.BAD_REQUEST:
            raise Refused(status, "")
        return manifest


@pytest.mark.parametrize(
    "answers", [(201,), (504, 201), (504, 409), (504, 504, 409), (504,) * 4 + (409,)]
)
async def test_late_answer_to_a_creation_is_tried_again(answers: tuple[int, ...]) -> None:
    person = Late(*answers)
    await create_patiently(person, {})
    assert person.answers == []


@pytest.mark.parametrize("answers", [(409,), (403,), (504, 403), (504,) * TRIES])
async def test_rejected_creation_is_an_error(answers: tuple[int, ...]) -> None:
    person = Late(*answers)
    with pytest.raises(Refused):
        await create_patiently(person, {})
    assert person.answers == []


async def send_requests(url: str, answers: Counter[int]) -> None:
    """Send requests until cancelled, and count the answers by their status."""
    async with aiohttp.ClientSession() as session:
        while True:
            async with session.get(url) as answer:
                answers[answer.status] += 1
            await asyncio.sleep(0.02)
