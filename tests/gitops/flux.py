"""Flux's controllers as processes of this machine, on the cluster of a kubeconfig."""

import json
import os
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from sandbox.control_plane import free_port
from sandbox.processes import Tether, tail
from sandbox.toolchain import go, go_environment
from sandbox.tools import FLUX, PROGRAMS, ensure
from tests.gitops.waiting import until

NAMESPACE = "flux-system"


def crds() -> Iterator[Path]:
    """Yield the files of Flux's CRDs, which its modules contain."""
    for name in FLUX:
        asked = [str(go()), "mod", "download", "-json", f"github.com/fluxcd/{name}"]
        answer = subprocess.run(
            asked,
            cwd=PROGRAMS[name].module,
            env=go_environment(),
            capture_output=True,
            check=True,
        ).stdout
        yield from sorted(Path(json.loads(answer)["Dir"], "config", "crd", "bases").glob("*.yaml"))


def start(tether: Tether, kubeconfig: Path) -> None:
    """Start the controllers and wait until they are ready. Flux's CRDs must exist.

    Without these addresses they listen on every interface.
    """
    storage = f"127.0.0.1:{free_port()}"
    for name in FLUX:
        home = tether.directory / name
        (home / "data").mkdir(parents=True)
        (home / "tmp").mkdir()
        health, log = f"127.0.0.1:{free_port()}", tether.directory / f"{name}.log"
        arguments = [
            "--log-encoding=console",
            "--metrics-addr=0",
            f"--health-addr={health}",
            "--requeue-dependency=1s",  # 30 s by default
        ]
        if name == "source-controller":
            arguments += [
                f"--storage-path={home / 'data'}",
                f"--storage-addr={storage}",
                f"--storage-adv-addr={storage}",  # the host in the URLs of artifacts
            ]
        variables = {
            "KUBECONFIG": str(kubeconfig),
            "RUNTIME_NAMESPACE": NAMESPACE,
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
        }
        tether.start(name, [ensure(name), *arguments], log=log, env=os.environ | variables)
        until(partial(_is_ready, health), bool, partial(tail, log))


def _is_ready(address: str) -> bool:
    try:
        with urlopen(f"http://{address}/readyz", timeout=1):
            return True
    except (URLError, OSError):
        return False
