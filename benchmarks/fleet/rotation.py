"""Time to replace a root under a fleet, compared with the minimum writes for it.

The propagation delays are as short as possible, so that the rest of the time is work.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from benchmarks.fleet.copies import whole
from benchmarks.fleet.topology import DOMAIN, NAMESPACE, Manifest, declarations, path
from benchmarks.harness.client import MERGE, Bare, Write
from benchmarks.harness.control_plane import api_server, apply, control_plane
from benchmarks.harness.operator import running, settled
from benchmarks.harness.report import Comparison, Report
from benchmarks.harness.turns import timed
from sandbox import Sandbox
from sandbox.demo.programs import NAMESPACE as SYSTEM
from troth.reconcile.operator import Operator
from troth.resources.metadata import API_VERSION
from troth.resources.schema.scalars import format_time
from troth.resources.trust_domain.status import RotationPhase

IDENTITIES = 1000
PROPAGATION = timedelta(seconds=1)
BEFORE = (
    *(RotationPhase.IDLE, RotationPhase.PREPARING),
    *(RotationPhase.DISTRIBUTING, RotationPhase.ACTIVATING),
)
"""Phases before the new root signs."""
TITLE = f"Rotation: the root of {IDENTITIES} certificates is replaced"
NOTE = (
    "Both sides have in them what readers are given: bundle.propagation, here 1 s and by default "
    "3 min, for certificates to take turns, and once more for the new root, and before the old one "
    "is dropped."
)


def reports() -> Iterator[Report]:
    """Measure on a control plane of its own."""
    with control_plane(NAMESPACE) as sandbox:
        apply(sandbox, declarations(IDENTITIES, propagation=PROPAGATION))
        yield Report(TITLE, asyncio.run(_measure(sandbox)), NOTE)


async def _measure(sandbox: Sandbox) -> list[Comparison]:
    async with Bare.connect(sandbox.kubeconfig) as bare, api_server(sandbox) as counted:
        async with running(counted.server) as operator:
            await settled(operator, IDENTITIES)
            rotating, reissuing = await _replaced(bare, operator)
        secrets = await bare.items(path("Secret"))
        await bare.send([whole("Secret", item, prefix="floor-") for item in secrets])
        statuses = list(_statuses(await bare.items(path("ServiceIdentity"))))
        publishing = await timed(lambda: bare.send(_others(secrets)))
        signing = await timed(lambda: bare.send([*_others(secrets), *statuses]))
    turns = PROPAGATION.total_seconds()
    return [
        Comparison("certificates replaced, in their turns", [reissuing], [signing + turns]),
        Comparison(
            "the root replaced, from asked to dropped",
            [rotating],
            [2 * publishing + signing + 3 * turns],
        ),
    ]


async def _replaced(bare: Bare, operator: Operator) -> tuple[float, float]:
    """Replace the root; return the seconds of the rotation, and those of its phase Reissuing."""
    asked = time.perf_counter()
    await bare.send([_request()])
    await _past(operator, *BEFORE)
    began = time.perf_counter()
    await _past(operator, RotationPhase.REISSUING)
    ended = time.perf_counter()
    await _past(operator, RotationPhase.RETIRING)
    return time.perf_counter() - asked, ended - began


async def _past(operator: Operator, *phases: RotationPhase) -> None:
    """Wait while the rotation in the domain's status is in one of these phases."""
    domains = operator.engine.world.registry.domains
    while domains[DOMAIN].status.rotation.phase in phases:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


def _request() -> Write:
    manifest = {
        "apiVersion": API_VERSION,
        "kind": "CredentialRotation",
        "metadata": {"name": "bench", "namespace": SYSTEM},
        "spec": {
            "target": {"kind": "TrustDomain", "name": DOMAIN},
            "requestedAt": format_time(datetime.now(UTC)),
        },
    }
    return Write(path("CredentialRotation", SYSTEM, "bench"), manifest)


def _others(secrets: Sequence[Manifest]) -> Iterator[Write]:
    """Yield a write to each copy of a Secret that gives it the content of the next one."""
    for item, other in zip(secrets, [*secrets[1:], secrets[0]], strict=True):
        name = f"floor-{item['metadata']['name']}"
        yield Write(path("Secret", object_name=name), {"data": other["data"]}, MERGE)


def _statuses(identities: Sequence[Manifest]) -> Iterator[Write]:
    """Yield a write to the status of each identity."""
    for item in identities:
        certificate = {**item["status"]["certificate"], "fingerprint": "f" * 16}
        place = path("ServiceIdentity", object_name=item["metadata"]["name"])
        yield Write(f"{place}/status", {"status": {"certificate": certificate}}, MERGE)
