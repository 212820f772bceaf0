"""The control plane's etcd: start and stop, copies of its data, and requests to it.

Requests go through etcd's JSON gateway
(https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/) on its own socket.
"""

import http.client
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sandbox import components
from sandbox.errors import ComponentError

NAME = "etcd"
GRACE_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""Timeout of one request; a defragmentation rewrites the whole database."""


class Store:
    """etcd in a directory. `run` starts a process by name and flags, `end` stops it."""

    def __init__(
        self,
        directory: Path,
        run: Callable[[str, list[str]], None],
        end: Callable[[str, float], None],
    ) -> None:
        self._directory = directory
        self._run = run
        self._end = end
        self._data = directory / NAME
        self._quota = 0

    def start(self) -> None:
        """Start etcd on its data. The API server waits for it."""
        self._run(NAME, [*components.etcd(self._data, quota=self._quota)])

    def stop(self) -> None:
        """Stop etcd; its data stays."""
        self._end(NAME, GRACE_SECONDS)

    def limit(self, quota: int) -> None:
        """Start etcd again with a limit of its database in bytes; 0 is etcd's default."""
        self._quota = quota
        self.stop()
        self.start()

    def copy_to(self, copy: Path) -> None:
        """Copy the data; etcd is stopped for a moment, so that the copy is consistent."""
        self.stop()
        shutil.copytree(self._data, copy)
        self.start()

    def replace_by(self, copy: Path) -> None:
        """Put a copy in place of the data of the stopped etcd."""
        shutil.rmtree(self._data)
        shutil.copytree(copy, self._data)

    def ask(self, path: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Send a request to the JSON gateway, such as `/v3/kv/compaction`; return the answer.

        Raises `ComponentError` if etcd rejects it.
        """
        name = components.ETCD_SOCKET.removeprefix("unix://")
        connection = _UnixConnection(self._directory / name)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", path, json.dumps(body), headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise ComponentError(NAME, f"answered {response.status} to {path}", text)
        answer: dict[str, Any] = json.loads(text)
        return answer

    def make_room(self) -> None:
        """Compact, defragment, and disarm every alarm, as etcd's guide says after NOSPACE.

        https://etcd.io/docs/v3.6/op-guide/maintenance/#space-quota
        """
        revision = self.ask("/v3/maintenance/status")["header"]["revision"]
        self.ask("/v3/kv/compaction", revision=revision, physical=True)
        self.ask("/v3/maintenance/defragment")
        for alarm in self.ask("/v3/maintenance/alarm", action="GET").get("alarms", []):
            self.ask("/v3/maintenance/alarm", **{**alarm, "action": "DEACTIVATE"})


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
