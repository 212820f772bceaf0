"""`troth gateway` as a separate process."""

import contextlib
import os
import sys
from pathlib import Path

import aiohttp

from sandbox.control_plane import free_port
from sandbox.processes import Tether, tail
from tests.cluster.person import until
from tests.cluster.process import SOURCE


class Process:
    """A gateway on loopback. It ends with the tether, also if the test fails."""

    def __init__(
        self,
        tether: Tether,
        name: str,
        kubeconfig: Path,
        *options: str,
        module: str = "troth.cli",
        **variables: str,
    ) -> None:
        self._tether = tether
        self._name = name
        self._log = tether.directory / f"{name}.log"
        self._health, self.port = free_port(), free_port()
        self.pid = tether.start(
            name,
            [
                *(sys.executable, "-m", module, "gateway", f"--kubeconfig={kubeconfig}"),
                *options,
                f"--listen=127.0.0.1:{self.port}",
                f"--health-listen=127.0.0.1:{self._health}",
            ],
            log=self._log,
            env=os.environ | variables | {"PYTHONPATH": str(SOURCE), "NO_COLOR": "1"},
        )

    @property
    def output(self) -> str:
        return self._log.read_text()

    def stop(self) -> None:
        """Send SIGTERM, as a kubelet does."""
        self._tether.stop(self._name, grace=10)

    async def ended(self) -> int:
        """Wait until it has ended by itself; return its exit code."""

        async def look() -> int | None:
            return self._tether.poll(self._name)

        code = await until(look, lambda found: found is not None)
        assert code is not None
        return code

    async def ready(self) -> None:
        await until(lambda: self.page("readyz"), lambda text: text == "ok\n")

    async def unready(self) -> None:
        await until(lambda: self.page("readyz"), lambda text: text == "syncing\n")

    async def page(self, page: str) -> str:
        """Return a page of its health server; empty while it does not listen."""
        assert self._tether.poll(self._name) is None, tail(self._log)
        with contextlib.suppress(aiohttp.ClientError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{self._health}/{page}") as response,
            ):
                return await response.text()
        return ""
