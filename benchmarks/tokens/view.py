"""Time until the issuer uses a change of a thousand edges at once.

The operator and the issuer are separate processes with one API server. A watch shows which version
of the Secret has which edges. The issuer's log shows when it read that version.
"""

import asyncio
import base64
import json
import time
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from pathlib import Path

from benchmarks.fleet import topology
from benchmarks.fleet.topology import DOMAIN, NAMESPACE, NEIGHBOURS, Manifest, declarations, path
from benchmarks.harness.client import CONNECTIONS, Bare, Write
from benchmarks.harness.control_plane import control_plane
from benchmarks.harness.process import Process
from benchmarks.harness.report import QUANTILES, Comparison, Figure, Report, quantile
from benchmarks.harness.servers import write_secretly
from benchmarks.harness.watch import Objects, Watch
from sandbox import Sandbox
from sandbox.control_plane import free_port
from sandbox.demo.programs import NAMESPACE as SYSTEM
from sandbox.demo.programs import Program, run_program
from sandbox.processes import Tether
from troth.documents.token_grants import FILE
from troth.issuer.secret_watch import secret_name
from troth.pki.spiffe import spiffe_id

IDENTITIES = 250
EDGES = IDENTITIES * NEIGHBOURS
"""All edges of a ring, numbered by callee and then by the caller's distance from it."""
AIM_SECONDS = 5.0
SCOPES = ["read", "write"]
TITLE = f"The issuer's view: {EDGES} edges of {IDENTITIES} identities change at once"
NOTE = (
    "From when an edge's declaration is sent until the issuer has read a view that tells of it. "
    "The floor is the declaration alone, of which there are as many at once as connections."
)
SECRET = path("Secret", SYSTEM, secret_name(DOMAIN))
LOOK_SECONDS = 0.1

Moments = Mapping[int, float]
"""Times since the epoch, by the callee's number or by the view's version."""


def reports() -> Iterator[Report]:
    """Measure on a control plane of its own."""
    with control_plane(NAMESPACE) as sandbox:
        rows = asyncio.run(_measure(sandbox))
        yield Report(TITLE, rows, NOTE, [each for row in rows for each in _figures(row)])


def _figures(row: Comparison) -> Iterator[Figure]:
    for name in ("p50", "max"):
        yield Figure(f"{row.what}: {name}", quantile(row.troth, QUANTILES[name]), "s", AIM_SECONDS)


async def _measure(sandbox: Sandbox) -> list[Comparison]:
    rows = []
    async with Bare.connect(sandbox.kubeconfig) as bare, Process.run(sandbox) as process:
        await bare.send(
            Write(path(each["kind"], object_name=each["metadata"]["name"]), _tokens(each))
            for each in declarations(IDENTITIES)
        )
        await process.settled(IDENTITIES)
        await process.still()
        async with _issuer(sandbox, bare) as log:
            for what, live in (("taken back", False), ("declared again", True)):
                rows.append(await _change(sandbox, bare, log, what, live=live))
                await process.still()
    return rows


async def _change(sandbox: Sandbox, bare: Bare, log: Path, what: str, *, live: bool) -> Comparison:
    """Remove all edges, or declare them again; return the time of each."""
    async with Watch.open(sandbox.kubeconfig, [path("Secret", SYSTEM)]) as watch:
        following = asyncio.create_task(_versions(watch, live=live))
        began, answered = await _declare(bare, live=live)
        versions = await following
    read = await readings(log, max(versions.values()))
    taken_up = {number: first_reading(read, version) for number, version in versions.items()}
    return Comparison(
        what,
        [taken_up[number] - began[number // NEIGHBOURS] for number in range(EDGES)],
        [answered[callee] - began[callee] for callee in range(IDENTITIES)],
    )


async def _declare(bare: Bare, *, live: bool) -> tuple[Moments, Moments]:
    """Send each callee's declaration; return when each began, and when it was answered."""
    began: dict[int, float] = {}
    answered: dict[int, float] = {}
    waiting = iter(range(IDENTITIES))

    async def sender() -> None:
        for callee in waiting:
            manifest = _tokens(topology.identity(callee, IDENTITIES))
            if not live:
                manifest["spec"]["accepts"] = []
            place = path("ServiceIdentity", object_name=topology.name(callee))
            began[callee] = time.time()
            await bare.write(Write(place, manifest))
            answered[callee] = time.time()

    await asyncio.gather(*(sender() for _ in range(CONNECTIONS)))
    return began, answered


async def _versions(watch: Watch, *, live: bool) -> Mapping[int, int]:
    """Return the first version of the view that has each edge, or with `live` false lacks it."""
    found: dict[int, int] = {}

    def is_new(objects: Objects) -> bool:
        return SECRET in objects and _version(objects[SECRET]) > max(found.values(), default=0)

    while len(found) < EDGES:
        await watch.until(is_new)
        secret = watch.objects[SECRET]
        callers = _callers(secret)
        told = [number for number in range(EDGES) if _is_in(number, callers) is live]
        found = dict.fromkeys(told, _version(secret)) | found
        await asyncio.sleep(LOOK_SECONDS)
    return found


def _version(secret: Manifest) -> int:
    return int(secret["metadata"]["resourceVersion"])


async def readings(log: Path, version: int) -> Moments:
    """Return when the issuer read each version, after it has read this one or a later one."""
    while True:
        read = {
            int(line["version"]): datetime.fromisoformat(line["timestamp"]).timestamp()
            for line in _lines(log)
            if line.get("event") == "issuer configuration read"
        }
        if max(read, default=0) >= version:
            return read
        await asyncio.sleep(LOOK_SECONDS)


def first_reading(read: Moments, version: int) -> float:
    """Return when a version was read, or else the next version that was."""
    return read[min(each for each in read if each >= version)]


def _lines(log: Path) -> Iterable[Manifest]:
    for line in log.read_text().splitlines():
        with suppress(json.JSONDecodeError):  # the last line may be incomplete
            yield json.loads(line)


# Edges with tokens


def _tokens(manifest: Manifest) -> Manifest:
    """Return the declaration of a ring's identity with tokens added."""
    spec = manifest["spec"]
    if manifest["kind"] == "TrustDomain":
        spec["tokens"] = {}
    else:
        spec["authentication"] = {"token": {}}
        for entry in (*spec["accepts"], *spec["calls"]):
            entry["scopes"] = SCOPES
    return manifest


def _callers(secret: Manifest) -> Mapping[str, Manifest]:
    text = zlib.decompress(base64.b64decode(secret["data"][FILE]), wbits=zlib.MAX_WBITS | 16)
    callers: Mapping[str, Manifest] = json.loads(text)["callers"]
    return callers


def _is_in(number: int, callers: Mapping[str, Manifest]) -> bool:
    """Return whether the callers of a view have an edge."""
    callee, step = divmod(number, NEIGHBOURS)
    caller = callers[_spiffe_id((callee + step + 1) % IDENTITIES)]
    return _spiffe_id(callee) in caller["audiences"]


def _spiffe_id(number: int) -> str:
    return spiffe_id("bench.example", NAMESPACE, topology.name(number))


# The issuer


@asynccontextmanager
async def _issuer(sandbox: Sandbox, bare: Bare) -> AsyncIterator[Path]:
    """Run an issuer with the certificate that the operator made for it; yield its log."""
    directory = sandbox.directory / "issuer"
    directory.mkdir()
    files = (await bare.get(path("Secret", SYSTEM, f"{DOMAIN}-issuer")))["data"]
    for name in ("tls.crt", "tls.key", "ca.crt"):
        write_secretly(directory / name, base64.b64decode(files[name]))
    log = directory / "issuer.log"
    health = free_port()
    arguments = (
        *("issue", f"--domain={DOMAIN}", f"--tls={directory}", "--log-format=json"),
        *(f"--listen=127.0.0.1:{free_port()}", f"--health-listen=127.0.0.1:{health}"),
    )
    with Tether(directory) as tether:
        program = Program("issuer", log, SYSTEM, sandbox.kubeconfig)
        await asyncio.to_thread(run_program, tether, program, arguments, health)
        await readings(log, 1)
        yield log
