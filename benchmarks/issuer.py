"""Tokens a second of the issuer on one core, beside the same server that only signs.

Both are uvicorn with the issuer's TLS and protocol, as processes on one core; callers are on
another, with kept connections and certificates. They take turns.
"""

import base64
import gzip
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import urlencode

from benchmarks import issuing
from benchmarks.cores import cores, on, processor_seconds
from benchmarks.domain import ISSUER, NAME, Domain, identity, write_tls
from benchmarks.figures import Comparison, Figure, Report
from benchmarks.issuing import ANSWER, FLOOR, KEY, SECRET, TROTH
from benchmarks.load import Load, opened
from sandbox import SandboxError
from sandbox.control_plane import free_port
from sandbox.processes import Tether, tail
from troth.pki.keys import private_key_pem

ROUNDS = 8
TOKENS = 1000
"""By each side in each round."""
CONNECTIONS = 16
CALLERS, AUDIENCES = 1000, 4
"""Of the view."""
RATE = 0.5
"""The part of the floor's rate to be reached."""
IDLE = 0.6
"""The part of its core that whoever asks may need, so that nobody waits for it."""
PATIENCE_SECONDS = 30.0
GRACE_SECONDS = 5.0
TITLE = f"Issuer: {TOKENS} tokens, {ROUNDS} times"
NOTE = (
    "The floor signs the same claims behind the same server and does nothing else. Processor time "
    "is that of the issuer's process alone, whatever else the machine does."
)
CALLER = "s0"


@dataclass(slots=True)
class Side:
    """A server, who asks it, and the seconds that its rounds took: by the clock, of its core."""

    pid: int
    load: Load
    clock: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    asking: list[float] = field(default_factory=list)

    def take_turn(self) -> None:
        """Take a round of tokens."""
        before, asked = processor_seconds(self.pid), time.process_time()
        self.clock.append(self.load.take(TOKENS))
        self.asking.append(time.process_time() - asked)
        self.processor.append(processor_seconds(self.pid) - before)


def reports() -> Iterator[Report]:
    """Measure with both servers running, one of which is asked at a time."""
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        directory = Path(place)
        caller = _prepare(directory)
        stack.enter_context(on(cores()[1]))
        tether = stack.enter_context(Tether(_made(directory / "running")))
        troth = stack.enter_context(_side(tether, TROTH, directory, caller))
        (directory / ANSWER).write_text(json.dumps(troth.load.once()))
        floor = stack.enter_context(_side(tether, FLOOR, directory, caller))
        for side in (troth, floor):
            side.load.take(TOKENS)
        for _ in range(ROUNDS):
            for side in (floor, troth, floor):
                side.take_turn()
        yield Report(TITLE, [*_rows(troth, floor)], NOTE, [*_figures(troth, floor)])


def _rows(troth: Side, floor: Side) -> Iterator[Comparison]:
    what = f"{TOKENS} tokens"
    yield Comparison(what, troth.clock, floor.clock, 1 / RATE)
    yield Comparison(f"{what}: processor time", troth.processor, floor.processor, 1 / RATE)


def _figures(troth: Side, floor: Side) -> Iterator[Figure]:
    for name, side in (("Troth", troth), ("the floor", floor)):
        yield Figure(f"tokens a second: {name}", TOKENS / median(side.clock))
    for name, side in (("Troth", troth), ("the floor", floor)):
        yield Figure(f"of its core: {name}", sum(side.processor) / sum(side.clock))
    yield Figure("of its core: who asks the floor", sum(floor.asking) / sum(floor.clock), "", IDLE)


# The two servers


@contextmanager
def _side(tether: Tether, which: str, directory: Path, caller: Path) -> Iterator[Side]:
    """Run one of the servers; yield it with connections to it."""
    port, log = free_port(), directory / f"{which}.log"
    arguments = [which, str(directory), str(port), str(cores()[0])]
    argv = [sys.executable, "-m", issuing.__name__, *arguments]
    pid = tether.start(which, argv, log=log)
    form = urlencode(
        {
            "grant_type": "client_credentials",
            "audience": identity("s1"),
            "scope": "read write",
        }
    ).encode()
    deadline = time.perf_counter() + PATIENCE_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                connected = opened(port, caller, "localhost", form, CONNECTIONS)
                load = stack.enter_context(connected)
                break
            except ConnectionRefusedError:
                if tether.poll(which) is not None or time.perf_counter() > deadline:
                    raise SandboxError(f"no server; its log:\n{tail(log)}") from None
                time.sleep(0.1)
        yield Side(pid, load)
    tether.stop(which, grace=GRACE_SECONDS)


def _prepare(directory: Path) -> Path:
    """Write what both servers read; return the directory with the caller's certificate."""
    domain = Domain.make()
    write_tls(directory, domain.svid("troth-issuer"), domain.anchors)
    key = private_key_pem(domain.token_key)
    (directory / KEY).touch(mode=0o600)
    (directory / KEY).write_bytes(key)
    (directory / SECRET).touch(mode=0o600)
    (directory / SECRET).write_text(json.dumps(_secret(domain, key)))
    caller = _made(directory / CALLER)
    write_tls(caller, domain.svid(CALLER), domain.anchors)
    return caller


def _secret(domain: Domain, key: bytes) -> dict[str, Any]:
    """Return what an issuer follows: a fleet in which each calls those after it."""
    grant = {"scopes": ["read", "write"], "lifetime": 300}
    view = {
        "version": "v1alpha1",
        "trustDomain": NAME,
        "issuer": ISSUER,
        "maxLifetime": 900,
        "callers": {
            identity(f"s{number}"): {
                "audiences": {
                    identity(f"s{(number + step) % CALLERS}"): grant
                    for step in range(1, AUDIENCES + 1)
                }
            }
            for number in range(CALLERS)
        },
    }
    parts = {
        "current.key": key,
        "view.json.gz": gzip.compress(json.dumps(view).encode(), mtime=0),
        "bundle.json": json.dumps(domain.bundle()).encode(),
    }
    data = {name: base64.b64encode(part).decode() for name, part in parts.items()}
    return {"metadata": {"name": "bench-tokens", "resourceVersion": "1"}, "data": data}


def _made(directory: Path) -> Path:
    directory.mkdir()
    return directory
