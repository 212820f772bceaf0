"""`troth issue --workers`: processes that share a port and read the same Secret."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from sandbox.control_plane import free_port
from tests.cli.api_server import serving as serving_api
from tests.issuer import builders
from tests.issuer.builders import NAME, NAMESPACE, PAYMENTS
from tests.issuer.running import ISSUER_ID, caller, root, write_pair
from tests.serving.workers.running import Program, python, running
from tests.webhooks.gateway.attacks.wire import eventually

REQUESTS = 24


@dataclass
class Workers:
    """An issuer with two workers, its Secrets at the API server, and a caller's certificate."""

    program: Program
    secrets: list[dict[str, Any]]
    context: ssl.SSLContext

    async def ask(self) -> httpx.Response:
        """Request a token on a connection of its own, which either worker gets."""
        form = {"grant_type": "client_credentials", "audience": PAYMENTS}
        async with httpx.AsyncClient(verify=self.context) as client:
            return await client.post(f"https://localhost:{self.program.port}/token", data=form)

    def versions_read(self) -> list[str]:
        """Versions of the Secret that workers have read, from the log."""
        read = (each for each in self.program.lines if "callers" in each)
        return [each["version"] for each in read]


@asynccontextmanager
async def issuer(tmp: Path) -> AsyncIterator[Workers]:
    write_pair(tmp / "tls", "tls", ISSUER_ID, "localhost")
    (tmp / "tls" / "ca.crt").write_bytes(root())
    context = ssl.create_default_context(cafile=str(tmp / "tls" / "ca.crt"))
    certificate = caller(tmp)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    secrets = [builders.secret()]
    with serving_api(tmp, {"secrets": secrets}) as api:
        port, health = free_port(), free_port()
        command = [
            *(*python("troth.cli"), "issue", "--workers=2", f"--domain={NAME}"),
            *(f"--kubeconfig={api.kubeconfig}", f"--namespace={NAMESPACE}"),
            *(f"--tls={tmp / 'tls'}", "--log-format=json"),
            *(f"--listen=127.0.0.1:{port}", f"--health-listen=127.0.0.1:{health}"),
        ]
        async with running(tmp, command, port, health) as program:
            await program.becomes("readyz", 200)
            yield Workers(program, secrets, context)


async def test_every_worker_issues_and_stops_issuing_what_is_revoked(tmp_path: Path) -> None:
    async with issuer(tmp_path) as at:
        assert at.program.threads == 1  # copying a process with more is not safe
        answers = [await at.ask() for _ in range(REQUESTS)]
        assert {each.status_code for each in answers} == {200}
        assert len({each.json()["access_token"] for each in answers}) == REQUESTS
        samples = await at.program.samples()
        issued = (("grant", "client_credentials"), ("outcome", "issued"))
        assert samples["troth_issuer_decisions_total", issued] == REQUESTS
        assert samples["troth_issuer_view_age_seconds", ()] > 0

        at.secrets[:] = [builders.secret(builders.secret_data(builders.without_edge()), "2")]
        await eventually(lambda: at.versions_read().count("2") == 2)
        answers = [await at.ask() for _ in range(REQUESTS)]
        assert {each.json()["error"] for each in answers} == {"invalid_target"}
        at.program.terminate()
        assert await at.program.ended() == 0


async def test_unusable_tls_files_are_reported_once_before_workers_start(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(*python("troth.cli"), "issue", "--workers=2", f"--domain={NAME}"),
        *(f"--tls={tmp_path}", "--log-format=json", f"--health-listen=127.0.0.1:{free_port()}"),
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert said.decode().count(f"{tmp_path}: ") == 1
    assert b"worker ended" not in said
