"""Documents of a probe pod: the instructions from `troth prove`, and the pod's report.

The report is one line of the pod's log. A user who may change pods in its namespace can write that
log, so it is parsed strictly: it has no free text, and a report that is not exactly as expected
counts as none.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from enum import StrEnum
from ipaddress import ip_address
from typing import Any

from troth.pki.encodings import strict_json

VARIABLE = "TROTH_PROBES"
"""Environment variable of a probe pod with its instructions."""
IDENTITIES = "/var/run/troth/probe"
"""Folder of a probe pod with a mount for each identity, by its name."""
BUNDLE = "/var/run/troth/bundle"
LABEL = "troth.dev/probe"
"""Label of Jobs and pods that probe. Such a pod is not part of its identity's workload."""

MOST = 32
"""Maximum number of probes in a pod: their instructions must fit into an environment variable."""
LONGEST = 32 * 1024
"""Maximum size of a report in bytes."""

STATUSES = range(100, 600)
"""Status codes of HTTP that a report may have."""

_KEY = "trothProbes"
_CODE = re.compile(r"[a-z][a-z-]{0,47}")
_PATH = re.compile(r"/[A-Za-z0-9._~:/?@!$&'()*+,;=%-]{0,254}", re.ASCII)
_NAME = re.compile(r"([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?)?")


class Outcome(StrEnum):
    """Where a probe ended."""

    FAILED = "Failed"
    """The probe could not be made: the pod's files are missing or unusable."""
    NO_TOKEN = "NoToken"  # noqa: S105 - no password
    """The issuer cannot be reached or has no answer."""
    TOKEN_REFUSED = "TokenRefused"  # noqa: S105 - no password
    """The issuer rejects the request for the token; `code` says why."""
    TIMEOUT = "Timeout"
    """Nothing answers the connection."""
    UNREACHABLE = "Unreachable"
    """The pod, or a router, has no way to the address."""
    REJECTED = "Rejected"
    """An ICMP message of a packet filter rejects the connection."""
    RESET = "Reset"
    """A reset rejects the connection: nothing listens, or a packet filter pretends so."""
    CONNECTED = "Connected"
    """The connection is open. The probe does nothing else."""
    NOT_TLS = "NotTLS"
    """The server does not speak TLS."""
    UNTRUSTED = "Untrusted"
    """The client cannot verify the server's certificate."""
    WRONG_SERVER = "WrongServer"
    """The server's certificate has another SPIFFE ID."""
    ALERT = "Alert"
    """The server ends TLS with an alert."""
    CLOSED = "Closed"
    """The server closes the connection without an answer."""
    SILENT = "Silent"
    """The server does not answer in time."""
    GARBLED = "Garbled"
    """The server answers, but not with HTTP."""
    ANSWERED = "Answered"
    """The server answers with HTTP; `status` and `code` are those of the answer."""


STOPPED = frozenset({Outcome.TIMEOUT, Outcome.UNREACHABLE, Outcome.REJECTED, Outcome.RESET})
"""Outcomes of probes that did not connect."""
UNMADE = frozenset({Outcome.FAILED, Outcome.NO_TOKEN, Outcome.TOKEN_REFUSED})
"""Outcomes of probes that did not try to connect."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a probe saw."""

    outcome: Outcome
    status: int = 0
    """Status of the answer, 0 without one."""
    code: str = ""
    """Code of a problem document (RFC 9457) that rejects the request, or of the issuer's error."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One probe."""

    address: str
    """IP address of a pod of the callee."""
    port: int
    request: bool = False
    """Whether to send a GET request. Otherwise the probe only connects."""
    server: str = ""
    """SPIFFE ID to expect of the server, empty for HTTP without TLS."""
    roots: str = ""
    """Name of the identity whose roots verify the server."""
    certificate: str = ""
    """Name of the identity whose certificate to present, empty for none."""
    audience: str = ""
    """Audience of the token to send, empty for none."""
    holder: str = ""
    """Name of the identity that requests the token."""
    claimed: str = ""
    """SPIFFE ID to claim in forged headers, empty to send none."""
    path: str = "/"
    """Path and query of the request."""
    passes: bool = True
    """Whether it should pass. The pod repeats the probe for a while if it does not do as it
    should, because rules of a new pod may take effect late."""


@dataclass(frozen=True, slots=True)
class Instructions:
    """The probes of a pod, which it makes in this order."""

    nonce: str
    """Text that the report repeats."""
    probes: tuple[Instruction, ...]
    timeout: int = 3
    """Maximum time of one connection, handshake or answer in seconds."""
    patience: int = 10
    """Time in seconds after which the pod repeats no probe."""

    @property
    def text(self) -> str:
        """The instructions as JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class PodReport:
    """What the probes of a pod saw, in the order of the instructions."""

    nonce: str
    seen: tuple[Seen, ...]
    answered: bool
    """Whether anything has answered the pod: a callee, a packet filter, or the cluster's resolver.
    Otherwise its network may be down, and failed connections prove nothing."""

    @property
    def line(self) -> str:
        """The report as one line of JSON."""
        seen = [[each.outcome.value, each.status, each.code] for each in self.seen]
        document = {_KEY: 1, "nonce": self.nonce, "answered": self.answered, "seen": seen}
        return json.dumps(document, separators=(",", ":"))


def is_path(text: str) -> bool:
    """Return whether a text is a path, with or without a query, that a probe may request."""
    return _PATH.fullmatch(text) is not None


def is_code(text: object) -> bool:
    """Return whether a text has the form of a code that a report may have."""
    return isinstance(text, str) and _CODE.fullmatch(text) is not None


def read_instructions(text: str) -> Instructions:
    """Return the instructions in a JSON text; raises `ValueError`."""
    document = strict_json.parse(text)
    _exactly(document, Instructions)
    probes = document["probes"]
    if not isinstance(probes, list) or not 0 < len(probes) <= MOST:
        raise ValueError(f"instructions have 1 to {MOST} probes")
    return Instructions(
        document["nonce"],
        tuple(map(_instruction, probes)),
        document["timeout"],
        document["patience"],
    )


def _instruction(document: Any) -> Instruction:  # noqa: ANN401 - JSON is anything
    _exactly(document, Instruction)
    ip_address(document["address"])
    if not is_path(document["path"]):
        raise ValueError("a path begins with / and has no spaces and no fragment")
    names = (document[each] for each in ("roots", "certificate", "holder"))
    if not all(_NAME.fullmatch(each) for each in names):
        raise ValueError("an identity is given by its name")
    return Instruction(**document)


def _exactly(document: Any, model: type[Any]) -> None:  # noqa: ANN401 - JSON is anything
    """Raise `ValueError` unless a document has exactly the members of a model, with its types."""
    types = {each.name: each.type for each in fields(model)}
    if not isinstance(document, dict) or document.keys() != types.keys():
        raise ValueError(f"it must have exactly the members {', '.join(types)}")
    for name, type_ in types.items():
        if type_ in (str, int, bool) and type(document[name]) is not type_:
            raise ValueError(f"{name} must be a {type_.__name__}")


def read_report(log: bytes, instructions: Instructions) -> PodReport | None:
    """Return the report in a pod's log, None unless its last line is one for the instructions."""
    lines = log.strip().rsplit(b"\n", 1)
    if not lines or len(lines[-1]) > LONGEST:
        return None
    try:
        document = strict_json.parse(lines[-1])
    except ValueError:
        return None
    if not isinstance(document, dict) or document.keys() != {_KEY, "nonce", "answered", "seen"}:
        return None
    version = document[_KEY]
    if type(version) is not int or version != 1 or document["nonce"] != instructions.nonce:
        return None
    seen, answered = document["seen"], document["answered"]
    if type(answered) is not bool or not isinstance(seen, list):
        return None
    found = [_seen(each) for each in seen]
    if len(found) != len(instructions.probes) or None in found:
        return None
    return PodReport(instructions.nonce, tuple(each for each in found if each), answered)


def _seen(entry: object) -> Seen | None:
    match entry:
        case [str(outcome), int(status), str(code)] if type(status) is int:
            if outcome not in set(Outcome) or not (status == 0 or status in STATUSES):
                return None
            if code and not is_code(code):
                return None
            return Seen(Outcome(outcome), status, code)
    return None


def any_answered(seen: Iterable[Seen]) -> bool:
    """Return whether anything has answered a probe, if only to reject it."""
    silent = UNMADE | {Outcome.TIMEOUT, Outcome.UNREACHABLE}
    return any(each.outcome not in silent for each in seen)
