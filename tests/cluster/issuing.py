"""`troth issue` as a separate process, and callers with or without a certificate."""

from __future__ import annotations

import contextlib
import os
import ssl
import sys
from pathlib import Path
from typing import Any, Self

import aiohttp
import httpx

from sandbox.control_plane import free_port
from sandbox.processes import Tether, tail
from tests.cluster.person import until
from tests.cluster.process import SOURCE
from tests.issuer.running import ISSUER_ID, root, write_pair


class Issuer:
    """One copy of the issuer. It ends with the tether, also if the test fails."""

    def __init__(
        self,
        tether: Tether,
        name: str,
        kubeconfig: Path,
        namespace: str,
        domain: str,
        *,
        tls: Path | None = None,
        address: str = "",
        log_level: str = "info",
    ) -> None:
        self._tether = tether
        self._name = name
        self._log = tether.directory / f"{name}.log"
        self._health = free_port()
        self.address = address or f"127.0.0.1:{free_port()}"
        self.host = f"{domain}-issuer.{namespace}.svc"
        self.tls = tls or _own_files(tether.directory / f"{name}-tls", self.host)
        tether.start(
            name,
            [
                *(sys.executable, "-m", "troth.cli", "issue", "--kubeconfig", str(kubeconfig)),
                *("--domain", domain, "--namespace", namespace, "--tls", str(self.tls)),
                *("--listen", self.address),
                *("--health-listen", f"127.0.0.1:{self._health}", "--log-format", "json"),
                *("--log-level", log_level),
            ],
            log=self._log,
            env=os.environ | {"PYTHONPATH": str(SOURCE), "NO_COLOR": "1"},
        )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._tether.stop(self._name, grace=0)

    def stop(self) -> None:
        """Send SIGTERM, as a kubelet does."""
        self._tether.stop(self._name, grace=15)

    @property
    def returncode(self) -> int | None:
        return self._tether.poll(self._name)

    async def serves(self) -> None:
        """Wait until it answers any request."""
        await until(lambda: self.health("healthz"), lambda text: text == "ok\n")

    async def ready(self) -> None:
        """Wait until it is ready, with a configuration."""
        await until(lambda: self.health("readyz"), lambda text: text == "ok\n")

    async def unready(self) -> None:
        """Wait until it reports that it has no configuration."""
        await until(lambda: self.health("readyz"), lambda text: text == "syncing\n")

    async def health(self, page: str) -> str:
        """Return a page of its health server; empty while it does not listen."""
        returncode = self._tether.poll(self._name)
        assert returncode is None, f"ended with {returncode}: {tail(self._log)}"
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self._health}/{page}") as response,
            ):
                return await response.text()
        return ""

    def caller(self, certificate: Path | None = None) -> Caller:
        """Return a caller of this copy."""
        context = ssl.create_default_context(cafile=str(self.tls / "ca.crt"))
        if certificate:
            context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        url = f"https://{self.address}/token"
        return Caller(httpx.AsyncClient(verify=context), url, self.host)


def _own_files(directory: Path, host: str) -> Path:
    """Write the issuer's serving certificate, signed by the tests' own root."""
    write_pair(directory, "tls", ISSUER_ID, host)
    (directory / "ca.crt").write_bytes(root())
    return directory


class Caller:
    """Requests tokens. Use it as an async context manager."""

    def __init__(self, client: httpx.AsyncClient, url: str, host: str) -> None:
        self._client = client
        self._url = url
        self._host = host

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def ask(self, audience: str, **more: str) -> dict[str, Any]:
        """Request with the certificate alone; return the answer, also if it is an error."""
        form = {"grant_type": "client_credentials", "audience": audience, **more}
        return await self._post(form)

    async def exchange(self, token: str, audience: str, **more: str) -> dict[str, Any]:
        """Exchange a ServiceAccount token; return the answer, also if it is an error."""
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": token,
            "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
            "audience": audience,
            **more,
        }
        return await self._post(form)

    async def _post(self, form: dict[str, str]) -> dict[str, Any]:
        # the certificate names the Service, which no resolver here can resolve
        named = {"sni_hostname": self._host}
        response = await self._client.post(self._url, data=form, extensions=named)
        answer: dict[str, Any] = response.json()
        assert (response.status_code == httpx.codes.SERVICE_UNAVAILABLE) == (
            answer.get("error") == "temporarily_unavailable"
        )
        return answer
