"""A client of the workload's control channel: calls to make, and their outcomes.

The terms are those of `sandbox/workload/`, which explains them.
"""

import json
import socket
import struct
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from sandbox.closing import Closing
from sandbox.errors import SandboxError

Files = Mapping[str, str]  # keys and text of an identity's Secret

TIMEOUT_SECONDS = 3.0


class Mode(StrEnum):
    """Protocol of a call."""

    MTLS = "mtls"
    TLS = "tls"
    TLS12 = "tls12"
    PLAIN = "plain"
    CONNECT = "connect"


class Layer(StrEnum):
    """Layer at which a call ended."""

    NETWORK = "network"
    HANDSHAKE = "handshake"
    SCOPE = "scope"
    ANSWERED = "answered"


@dataclass(frozen=True, slots=True)
class Target:
    """One call: to `address` ("10.78.0.7:8443") on the port named `port`.

    `expect` is the expected SPIFFE ID. Without it, the caller's identity.json names the ID for
    `service` ("namespace/name"). `scope` is the scope to request.
    """

    address: str
    port: str = ""
    mode: Mode = Mode.MTLS
    service: str = ""
    expect: str = ""
    scope: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a call.

    At the network layer, `reason` is "rejected" (by a packet filter), "closed" (no process listens)
    or "timeout". At the handshake, `by` is the side that rejected, "client" or "server", and
    `reason` says why. `authority` is the key ID, in hex, of the issuer of the server's certificate.
    `started` is in seconds since 1970, `took` in seconds.
    """

    layer: Layer
    by: str = ""
    reason: str = ""
    detail: str = ""
    server: str = ""
    authority: str = ""
    scopes: tuple[str, ...] = ()
    started: float = 0.0
    took: float = 0.0

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Return the outcome from the workload's JSON."""
        scopes = tuple(content.get("scopes", ()))
        return cls(**{**content, "layer": Layer(content["layer"]), "scopes": scopes})

    def __str__(self) -> str:
        return " ".join(filter(None, (self.layer, self.by and f"by {self.by}:", self.reason)))


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of repeated calls.

    `answered` counts successful calls by the issuers of the caller's and the callee's certificates,
    each given by its key ID in hex. `failed` counts all others; `failures` has the first of them.
    """

    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    failed: int = 0
    failures: tuple[Outcome, ...] = ()

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Self:
        """Return the tally from the workload's JSON."""
        answered: Counter[tuple[str, str]] = Counter()
        for signers, count in content["answered"].items():
            caller, _, callee = signers.partition(" ")
            answered[caller, callee] = count
        failures = tuple(map(Outcome.read, content.get("failures", ())))
        return cls(answered, content["failed"], failures)

    @property
    def calls(self) -> int:
        """Number of calls."""
        return self.answered.total() + self.failed

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.answered + other.answered,
            self.failed + other.failed,
            self.failures + other.failures,
        )

    def since(self, before: "Tally") -> "Tally":
        """Return the difference from an earlier tally of the same calls."""
        return Tally(
            self.answered - before.answered,
            self.failed - before.failed,
            self.failures[len(before.failures) :],
        )


class WorkloadEndedError(SandboxError):
    """The workload of a pod ended during a request."""


class Workload(Closing):
    """A connection to the workload of one pod. Safe to use from several threads."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._answers = channel.makefile("rb", buffering=256 * 1024)
        self._lock = threading.Lock()

    @property
    def process(self) -> int:
        """Process ID of the workload in the caller's PID namespace."""
        credentials = self._channel.getsockopt(
            socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")
        )
        return int(struct.unpack("3i", credentials)[0])

    @property
    def root(self) -> Path:
        """Root directory of the workload, with its current files."""
        return Path(f"/proc/{self.process}/root")

    @property
    def ended(self) -> bool:
        """Whether the workload has ended."""
        with self._lock:
            try:
                return not self._channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                return True

    def call(
        self,
        targets: Sequence[Target],
        *,
        present: Files | None = None,
        concurrency: int = 8,
        timeout: float = TIMEOUT_SECONDS,
    ) -> list[Outcome]:
        """Make calls and return their outcomes in the same order.

        With `present`, the workload uses these files, all or some of an identity's, instead of its
        own.
        """
        answer = self.ask(
            do="call",
            targets=[asdict(target) for target in targets],
            present=present,
            concurrency=concurrency,
            timeout=timeout,
        )
        return [Outcome.read(each) for each in answer.get("outcomes", ())]

    def hold(self, name: str, target: Target) -> Outcome:
        """Make a call and keep the connection under a name."""
        answer = self.ask(do="hold", name=name, targets=[asdict(target)])
        return Outcome.read(answer["outcomes"][0])

    def again(self, name: str, *, scope: str = "", timeout: float = TIMEOUT_SECONDS) -> Outcome:
        """Send another request on a kept connection."""
        target = Target("", scope=scope)
        answer = self.ask(do="again", name=name, targets=[asdict(target)], timeout=timeout)
        return Outcome.read(answer["outcomes"][0])

    def release(self, name: str) -> None:
        """Close a kept connection."""
        self.ask(do="release", name=name)

    def storm(
        self, targets: Sequence[Target], *, rate: float, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        """Start to call the targets in turn in the background, `rate` calls per second in all.

        Each call opens a new connection and uses the current files.
        """
        calls = [asdict(target) for target in targets]
        self.ask(do="storm", targets=calls, rate=rate, timeout=timeout)

    def tally(self) -> Tally:
        """Return the tally of the background calls so far."""
        return Tally.read(self.ask(do="tally")["tally"])

    def calm(self) -> Tally:
        """Stop the background calls; return the tally of all."""
        return Tally.read(self.ask(do="calm")["tally"])

    def pose(self, files: Files | None) -> None:
        """Serve with these files instead of the workload's own; with `None`, with its own again."""
        self.ask(do="pose", present=files)

    def identity(self) -> Mapping[str, Any]:
        """Return the identity.json that the workload uses."""
        document: Mapping[str, Any] = self.ask(do="look")["identity"]
        return document

    def ask(self, **request: Any) -> dict[str, Any]:  # noqa: ANN401  JSON is what it is
        """Send one request; raises `SandboxError` if it is rejected or the workload ends."""
        line = json.dumps(request).encode() + b"\n"
        with self._lock:
            try:
                self._channel.sendall(line)
                received = self._answers.readline()
            except OSError as error:
                raise WorkloadEndedError(f"the workload has ended: {error.strerror}") from error
        if not received:
            raise WorkloadEndedError("the workload has ended")
        answer: dict[str, Any] = json.loads(received)
        if problem := answer.get("error"):
            raise SandboxError(f"the workload refused: {problem}")
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._answers.close()
        self._channel.close()
