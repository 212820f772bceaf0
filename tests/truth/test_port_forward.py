"""Port-forward through the API server and a real kubelet to a pod."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import aiohttp
import pytest

from sandbox import Sandbox, Tier
from sandbox.node.manifests import workload_pod
from tests.cluster.person import until
from tests.sandbox.nodes import addresses, apply, skip_without
from troth.cli.inputs.access import reach
from troth.cluster.connection.port_forward import PortForward
from troth.resources.references import Ref

PORT, CLOSED_PORT = 8080, 9


@pytest.fixture(scope="module")
def node() -> Iterator[Sandbox]:
    skip_without(Tier.NODE)
    with Sandbox.start(tier=Tier.NODE) as started:
        apply(started, workload_pod("default", "web", plain={"web": PORT}))
        addresses(started, "default", ["web"])
        yield started


async def test_requests_reach_the_pod(node: Sandbox) -> None:
    config = await reach(node.kubeconfig, None)
    async with (
        PortForward(config, Ref("default", "web"), PORT) as forward,
        aiohttp.ClientSession() as session,
    ):
        url = f"http://127.0.0.1:{forward.local_port}/"

        async def asked() -> int:
            async with session.get(url) as answer:
                await answer.read()
                return answer.status

        assert await asyncio.gather(*(asked() for _ in range(8))) == [200] * 8
    assert forward.failure == ""


async def test_closed_port_is_named(node: Sandbox) -> None:
    config = await reach(node.kubeconfig, None)
    async with PortForward(config, Ref("default", "web"), CLOSED_PORT) as forward:
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.local_port)
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        failure = await until(lambda: asyncio.sleep(0, forward.failure), bool)
    assert failure.startswith("Pod default/web: port 9: ")


async def test_missing_pod_is_named(node: Sandbox) -> None:
    config = await reach(node.kubeconfig, None)
    async with PortForward(config, Ref("default", "none"), PORT) as forward:
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.local_port)
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
    assert forward.failure == "the API server answered 404 to the port-forward to Pod default/none"
