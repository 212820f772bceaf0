"""Judges of statuses that are not Troth's: kstatus, and Argo CD's Lua."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sandbox.tools import ensure
from tests.builders import Manifest
from tests.patience import PATIENCE

HEALTH = Path(__file__).parents[2] / "examples" / "gitops" / "argocd" / "health" / "troth.dev"
"""Argo CD's health checks, in the layout of its `resource_customizations`."""


class Verdict(NamedTuple):
    status: str
    message: str


def kstatus(resources: Iterable[Manifest]) -> list[Verdict]:
    """Return what kstatus, and with it Flux, says of each resource."""
    return _judge(resources, "kstatus")


def argo_cd(resources: Iterable[Manifest], kind: str) -> list[Verdict]:
    """Return what the health check of a kind says of each resource."""
    return _judge(resources, "argocd", str(HEALTH / kind / "health.lua"))


def _judge(resources: Iterable[Manifest], *arguments: str) -> list[Verdict]:
    done = subprocess.run(
        [ensure("gitops-judge"), *arguments],
        input="\n".join(map(json.dumps, resources)),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [Verdict(**json.loads(line)) for line in done.stdout.splitlines()]
