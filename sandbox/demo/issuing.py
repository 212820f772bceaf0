"""The issuer as a process of its own, with no more rights than the chart gives it."""

import os
import sys
from pathlib import Path

from sandbox.control_plane import free_port
from sandbox.demo.operating import NAMESPACE, await_ready
from sandbox.processes import Tether

DOMAIN = "production"
ISSUER = f"troth-issuer-{DOMAIN}"
"""Its Deployment and ServiceAccount in the chart, and the process here."""
CERTIFICATE = f"{DOMAIN}-issuer"
"""The Secret with its certificate."""
KEYS = f"{DOMAIN}-tokens"
"""The Secret with its keys and what it may issue: all that it can read."""


def run_issuer(tether: Tether, kubeconfig: Path, certificate: Path, port: int) -> None:
    """Start `troth issue` on a port of loopback; return once it knows what it may issue.

    `certificate` is where its TLS files are mounted. Raises `DemoError` if it does not start.
    """
    health, log = free_port(), tether.directory / f"{ISSUER}.log"
    tether.start(
        ISSUER,
        [
            *(sys.executable, "-m", "troth.cli", "issue"),
            f"--domain={DOMAIN}",
            f"--kubeconfig={kubeconfig}",
            f"--namespace={NAMESPACE}",
            f"--tls={certificate}",
            f"--listen=127.0.0.1:{port}",
            f"--health-listen=127.0.0.1:{health}",
        ],
        log=log,
        # the client library writes CA and keys to temporary files; these go with the directory
        env=os.environ | {"TMPDIR": str(tether.directory)},
    )
    await_ready(tether, ISSUER, "the issuer", health, log)
