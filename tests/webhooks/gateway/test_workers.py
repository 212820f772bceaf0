"""`troth gateway --workers`: processes that share a port and one replay store."""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from sandbox.control_plane import free_port
from sandbox.valkey import ValkeyServer
from tests.builders import Manifest
from tests.cli.api_server import serving as serving_api
from tests.serving.workers.running import Program, python, running
from tests.webhooks.gateway.attacks.wire import eventually
from tests.webhooks.gateway.running import (
    BODY,
    SIGNING_KEY,
    Answer,
    Ledger,
    Sender,
    compiled,
    endpoint,
    ledger,
    target,
    write_identity,
)
from troth.pki.keys.private import private_key_pem
from troth.webhooks.schemes.delivery import Delivery

NAMESPACE = NAME = "troth-gateway"
DELIVERIES = 24


@dataclass
class Workers:
    """A gateway with two workers, its target, and a sender."""

    program: Program
    ledger: Ledger
    sender: Sender

    async def send(self, delivery: Delivery) -> Answer:
        """Send on a connection of its own, which either worker gets."""
        async with aiohttp.ClientSession() as session:
            of = self.sender
            return await Sender(of.url, session, of.document).send(delivery)


@asynccontextmanager
async def gateway(tmp: Path, valkey: ValkeyServer) -> AsyncIterator[Workers]:
    with ExitStack() as stack:
        behind = stack.enter_context(ledger(tmp))
        document = endpoint(target=target(behind.server.port))
        secrets = {
            "shop.stripe": compiled(document),
            f"{NAME}-webhook-signing": {"key.pem": private_key_pem(SIGNING_KEY)},
        }
        api = stack.enter_context(
            serving_api(tmp, {"secrets": [secret(*each) for each in secrets.items()]})
        )
        write_identity(tmp)
        (tmp / "url").write_text(valkey.url)
        port, health = free_port(), free_port()
        command = [
            *(*python("troth.cli"), "gateway", "--workers=2", f"--valkey={tmp / 'url'}"),
            *(f"--kubeconfig={api.kubeconfig}", f"--namespace={NAMESPACE}"),
            *(f"--identity={tmp / 'identity'}", f"--bundle={tmp / 'bundle'}"),
            *(f"--listen=127.0.0.1:{port}", f"--health-listen=127.0.0.1:{health}"),
            "--log-format=json",
        ]
        async with running(tmp, command, port, health) as program, aiohttp.ClientSession() as http:
            await program.becomes("readyz", 200)
            sender = Sender(f"http://127.0.0.1:{port}", http, document)
            yield Workers(program, behind, sender)


def secret(name: str, data: Mapping[str, bytes]) -> Manifest:
    labels = {"troth.dev/webhook-gateway": NAME, "app.kubernetes.io/managed-by": "troth"}
    metadata = {"name": name, "namespace": NAMESPACE, "labels": labels, "resourceVersion": "5"}
    encoded = {each: base64.b64encode(text).decode() for each, text in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


async def test_replay_at_any_worker_is_not_forwarded(tmp_path: Path, valkey: ValkeyServer) -> None:
    async with gateway(tmp_path, valkey) as at:
        assert at.program.threads == 1  # copying a process with more is not safe
        deliveries = [at.sender.signed() for _ in range(DELIVERIES)]
        answers = [await at.send(each) for each in deliveries for _ in range(4)]
        assert {each.status for each in answers} == {200}
        assert len(at.ledger.seen) == DELIVERIES
        samples = await at.program.samples()
        counted = {
            dict(labels)["reason"]: value
            for (name, labels), value in samples.items()
            if name == "troth_gateway_deliveries_total"
        }
        assert counted == {"": DELIVERIES, "done-already": 3 * DELIVERIES}
        assert samples["troth_gateway_delivery_seconds_count", (("endpoint", "shop/stripe"),)] == (
            4 * DELIVERIES
        )
        assert samples["troth_gateway_endpoints", ()] == 1
        logged = [each for each in at.program.lines if each["event"] == "delivery"]
        assert len(logged) == 4 * DELIVERIES
        started = [each["worker"] for each in at.program.lines if each["event"] == "started"]
        assert sorted(started) == [1, 2]


async def test_sigterm_loses_no_delivery_of_any_worker(
    tmp_path: Path, valkey: ValkeyServer
) -> None:
    async with gateway(tmp_path, valkey) as at:
        at.ledger.gate.clear()
        sent = [asyncio.create_task(at.send(at.sender.signed())) for _ in range(DELIVERIES)]
        await eventually(lambda: len(at.ledger.seen) == DELIVERIES)
        at.program.terminate()
        await eventually(lambda: not at.program.listens)
        at.ledger.gate.set()
        assert {each.status for each in await asyncio.gather(*sent)} == {200}
        assert await at.program.ended() == 0
        assert len(at.ledger.seen) == DELIVERIES
        assert {each.body for each in at.ledger.seen} == {BODY}


@pytest.mark.parametrize(
    ("url", "more", "complaint"),
    [
        ("no url", (), "{}/url: "),
        ("valkey://127.0.0.1:1", ("--tls={}/none",), "{}/none: "),
        ("valkey://127.0.0.1:1", ("--trusted-proxies=here",), "--trusted-proxies: "),
    ],
    ids=["url", "tls", "proxies"],
)
async def test_unusable_option_is_reported_once_before_workers_start(
    url: str, more: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "url").write_text(url)
    with serving_api(tmp_path, {"secrets": []}) as api:
        process = await asyncio.create_subprocess_exec(
            *(*python("troth.cli"), "gateway", "--workers=2", f"--valkey={tmp_path / 'url'}"),
            *(f"--listen=127.0.0.1:{free_port()}", f"--health-listen=127.0.0.1:{free_port()}"),
            *(f"--kubeconfig={api.kubeconfig}", "--log-format=json"),
            *(each.format(tmp_path) for each in more),
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
    assert process.returncode == 2
    assert said.decode().count(complaint.format(tmp_path)) == 1
    assert b"worker ended" not in said
    assert b"Traceback" not in said
