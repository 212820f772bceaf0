"""Run NATS on the loopback interface, with the shop's streams, until SIGTERM.

    python -m sandbox.brokers DIRECTORY

The program writes to `DIRECTORY` what an administrator configures in Troth: the data of the Secrets
`nats-admin` and `nats-ca`, each as a directory, and the files `account`, `operator` and `server`.
It writes `server` last, once NATS serves.
"""

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from sandbox.brokers.nats import NatsServer, hush
from sandbox.brokers.nats_streams import make_streams
from sandbox.certificates import owner_only
from sandbox.errors import SandboxError

STREAMS = {"ORDERS": "prod.orders.v1", "ORDERS_DLQ": "prod.orders.v1.dlq"}
DURABLES = {"ORDERS": ["fulfilment"]}


def serve(directory: Path) -> None:
    """Serve until the process is asked to end."""

    def end(_signal: int, _frame: object) -> NoReturn:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, end)
    hush()
    with NatsServer.serving() as server:
        asyncio.run(make_streams(server, STREAMS, DURABLES))
        _write(directory / "nats-admin", server.admin_secret())
        _write(directory / "nats-ca", server.ca_secret())
        _write(directory, {"account": server.account, "operator": server.keys.operator.public})
        _write(directory, {"server": server.address})
        signal.pause()


def _write(directory: Path, files: Mapping[str, str]) -> None:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, text in files.items():
        draft = directory / f".{name}"
        with open(draft, "w", opener=owner_only) as file:
            file.write(text)
        draft.rename(directory / name)


if __name__ == "__main__":
    try:
        serve(Path(sys.argv[1]))
    except SandboxError as error:
        sys.exit(str(error))
