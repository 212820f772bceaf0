"""`make bench`: what Troth costs, beside the bare requests that the same result needs at least.

The floor is a bare aiohttp client that sends the same writes, or reads the same lists, with the
same concurrency and nothing to think about. Ratios travel between machines; seconds do not.
"""

import asyncio
import base64
import json
import ssl
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from rich.console import Console
from rich.table import Table

from sandbox import Sandbox
from troth.cluster.api import ApiServer, configuration
from troth.cluster.lease import Timing
from troth.reconcile.operator import Operator, Settings

IDENTITIES = 300
WORKERS = 8
NAMESPACE = "bench"
SYSTEM = "troth-system"

Manifest = dict[str, Any]


def declarations() -> Iterator[Manifest]:
    """Yield one trust domain and a ring of identities, each with five callers and five callees."""
    yield {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "TrustDomain",
        "metadata": {"name": "bench"},
        "spec": {
            "domain": "bench.example",
            "environment": "bench",
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
            "authority": {"selfManaged": {}},
        },
    }
    for number in range(IDENTITIES):
        name = f"s{number}"
        ring = [number + step for step in range(1, 6)]
        yield {
            "apiVersion": "troth.dev/v1alpha1",
            "kind": "ServiceIdentity",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "workload": {
                    "serviceAccountName": name,
                    "podSelector": {"matchLabels": {"app": name}},
                    "ports": [{"name": "https", "port": 8443}],
                },
                "authentication": {"mtls": {}},
                "accepts": [
                    {"from": {"name": f"s{peer % IDENTITIES}"}, "ports": ["https"]} for peer in ring
                ],
                "calls": [
                    {"to": {"name": f"s{(2 * number - peer) % IDENTITIES}"}, "ports": ["https"]}
                    for peer in ring
                ],
            },
        }


class Bare:
    """The least client there is: one session, JSON in, bytes out."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session = session
        self._server = server

    @classmethod
    @asynccontextmanager
    async def connect(cls, kubeconfig: Path) -> "AsyncIterator[Bare]":
        """Connect as a kubeconfig says."""
        context, server = credentials(kubeconfig)
        connector = aiohttp.TCPConnector(ssl=context, limit=WORKERS)
        async with aiohttp.ClientSession(connector=connector) as session:
            yield cls(session, server)

    async def patch(self, path: str, body: Manifest, kind: str) -> None:
        """Send a patch of a content type."""
        url = f"{self._server}{path}?fieldManager=bench&force=true"
        if kind.startswith("application/merge"):
            url = f"{self._server}{path}?fieldManager=bench"
        async with self._session.patch(
            url, data=json.dumps(body), headers={"Content-Type": kind}
        ) as answer:
            await answer.read()
            answer.raise_for_status()

    async def items(self, path: str) -> list[Manifest]:
        """List everything at a path in pages of 500."""
        found: list[Manifest] = []
        token = ""
        while True:
            url = f"{self._server}{path}?limit=500&continue={token}"
            async with self._session.get(url) as answer:
                page = json.loads(await answer.read())
            found += page["items"]
            token = page["metadata"].get("continue", "")
            if not token:
                return found


def credentials(kubeconfig: Path) -> tuple[ssl.SSLContext, str]:
    """Return a kubeconfig's client certificate and roots as a TLS context, and the server's URL."""
    config = yaml.safe_load(kubeconfig.read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    context = ssl.create_default_context(
        cadata=base64.b64decode(cluster["certificate-authority-data"]).decode()
    )
    both = kubeconfig.parent / "bench-client.pem"
    both.touch(mode=0o600)
    parts = (user["client-certificate-data"], user["client-key-data"])
    both.write_bytes(b"\n".join(base64.b64decode(part) for part in parts))
    context.load_cert_chain(both)
    return context, cluster["server"]


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Return how many seconds a piece of work took."""
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


@asynccontextmanager
async def running(server: ApiServer) -> AsyncIterator[Operator]:
    """Run an operator while the context lasts."""
    operator = Operator(server, Settings(SYSTEM, "bench", Timing(15, 3, 5), WORKERS))
    task = asyncio.create_task(operator.run())
    try:
        yield operator
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def settled(operator: Operator) -> None:
    """Wait until the caches are in sync and every identity is ready."""
    identities = operator.engine.world.registry.identities
    while True:
        ready = operator.ready and len(identities) == IDENTITIES
        if ready and not len(operator.engine.queue):
            states = (
                condition.status
                for identity in identities.values()
                for condition in identity.status.conditions
                if condition.type == "Ready"
            )
            if sum(state == "True" for state in states) == IDENTITIES:
                return
        await asyncio.sleep(0.01)


SECRETS = f"/api/v1/namespaces/{NAMESPACE}/secrets"
POLICIES = f"/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/networkpolicies"
OURS = f"/apis/troth.dev/v1alpha1/namespaces/{NAMESPACE}/serviceidentities"


async def write_floor(bare: Bare) -> float:
    """Send the writes of a finished fleet again, as new objects, and return the seconds."""
    jobs: list[tuple[str, Manifest, str]] = []
    apply, merge = "application/apply-patch+yaml", "application/merge-patch+json"
    for path in (SECRETS, POLICIES):
        for item in await bare.items(path):
            body: Manifest = {
                "apiVersion": "v1" if path == SECRETS else "networking.k8s.io/v1",
                "kind": "Secret" if path == SECRETS else "NetworkPolicy",
                "metadata": {"name": f"floor-{item['metadata']['name']}"},
                **{part: item[part] for part in ("type", "data", "spec") if part in item},
            }
            jobs.append((f"{path}/{body['metadata']['name']}", body, apply))
    for item in await bare.items(OURS):
        conditions = [{**each, "reason": "Floor"} for each in item["status"]["conditions"]]
        status: Manifest = {"status": {**item["status"], "conditions": conditions}}
        jobs.append((f"{OURS}/{item['metadata']['name']}/status", status, merge))

    async def worker() -> None:
        while jobs:
            await bare.patch(*jobs.pop())

    async def everyone() -> None:
        await asyncio.gather(*(worker() for _ in range(WORKERS)))

    return await timed(everyone)


async def measure(sandbox: Sandbox) -> Table:
    """Measure on a fresh sandbox and return the table."""
    manifests = list(declarations())
    text = "---\n".join(json.dumps(manifest) for manifest in manifests)
    sandbox.kubectl("create", "namespace", NAMESPACE)
    sandbox.kubectl("create", "namespace", SYSTEM)
    sandbox.kubectl("apply", "-f", "crds")
    sandbox.kubectl("wait", "--for=condition=Established", "crd", "--all")
    sandbox.kubectl("apply", "-f", "-", stdin=text)
    table = Table(title=f"{IDENTITIES} identities, {5 * IDENTITIES} edges")
    for column in ("what", "Troth", "floor", "ratio"):
        table.add_column(column, justify="left" if column == "what" else "right")

    def row(what: str, troth: float, floor: float) -> None:
        table.add_row(what, f"{troth:.2f} s", f"{floor:.2f} s", f"{troth / floor:.1f}x")

    config = await configuration(str(sandbox.kubeconfig))
    async with Bare.connect(sandbox.kubeconfig) as bare, ApiServer(config) as server:
        async with running(server) as operator:
            first = await timed(lambda: settled(operator))
        row("from declared to Ready, against its writes alone", first, await write_floor(bare))
        async with running(server) as operator:
            again = await timed(lambda: settled(operator))

        async def lists() -> None:
            for path in (SECRETS, POLICIES, OURS):
                await bare.items(path)

        row("a restart, against the bare lists", again, await timed(lists))
    return table


def main() -> None:
    """Measure and print."""
    with Sandbox.start() as sandbox:
        table = asyncio.run(measure(sandbox))
    Console(file=sys.stdout).print(table)


if __name__ == "__main__":
    main()
