"""Form of an entry: canonical JSON with the hash of the entry before it, and a signature.

A line of the log is `{"troth.dev/audit":{"entry":…,"signature":…}}`. The entry is in canonical form
(RFC 8785), so its text on the line is what is hashed and signed. The signature is that of a DSSE
envelope (DSSE 1.0.2) with the entry as payload, by the key of the leaf in the member `chain`, in
the form of the seals of events.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from troth.edge.events.attributes import LONGEST_CHAIN, is_workload, parse_time, write_time
from troth.edge.events.seal.signer import Signer
from troth.pki.encodings import base64url, strict_json
from troth.review.trail.decisions import Written, document

MARK: Final = "troth.dev/audit"
"""The member of a line that holds an entry."""
PAYLOAD_TYPE: Final = "application/vnd.troth.audit-entry.v1+json"
NO_ENTRY: Final = ""
"""Hash before the first entry of a log."""
LONGEST_LINE = 64 * 1024
"""Maximum length of a line in bytes that is read."""

_MOST_VALUES = 4096
_DIGEST = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)
_LOG = re.compile(r"[0-9a-f-]{36}", re.ASCII)
_MOST_ENTRIES = 2**53
_LONGEST_SIGNATURE = 2048


@dataclass(frozen=True, slots=True)
class Entry:
    """Entry as a line has it; nothing of it is verified.

    `log` is the ID of its log, and `sequence` its number there, from 1. `previous` is the hash of
    the entry before it. `time` is in seconds since the epoch. `members` are all of its members, and
    `text` is its canonical form.
    """

    log: str
    sequence: int
    previous: str
    time: float
    worker: str
    chain: str = field(repr=False)
    members: Mapping[str, Any] = field(repr=False)
    text: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    @property
    def hash(self) -> str:
        """SHA-256 of the entry in base64url, which the next one has as `previous`."""
        return base64url.encode(sha256(self.text).digest())

    @property
    def signed(self) -> bytes:
        """What the signature is about."""
        return signed_bytes(self.text)

    @property
    def line(self) -> str:
        """The entry as a line of the log, without the line's end."""
        signature = base64url.encode(self.signature)
        return f'{{"{MARK}":{{"entry":{self.text.decode()},"signature":"{signature}"}}}}'


def canonical(value: Mapping[str, Any]) -> bytes:
    """Return the canonical form (RFC 8785) of JSON whose numbers are integers and names ASCII.

    Raises `ValueError` for halves of surrogate pairs.
    """
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


def signed_bytes(text: bytes) -> bytes:
    """Return DSSE's pre-authentication encoding of an entry's canonical form."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(text), text)


def write(
    decision: Written,
    *,
    log: str,
    sequence: int,
    previous: str,
    now: int,
    worker: str,
    signer: Signer,
) -> Entry:
    """Return the signed entry about a decision; `now` is in seconds since the epoch."""
    members = {
        **document(decision),
        "log": log,
        "sequence": sequence,
        "previous": previous,
        "time": write_time(now),
        "worker": worker,
        "chain": signer.chain,
    }
    text = canonical(members)
    signature = signer.sign(signed_bytes(text))
    return Entry(
        log, sequence, previous, float(now), worker, signer.chain, members, text, signature
    )


def read(line: str | bytes) -> Entry:
    """Return the entry of a line; raises `ValueError`, which quotes nothing."""
    if len(line) > LONGEST_LINE:
        raise ValueError("the line is too long")
    parsed = strict_json.parse(line, most=_MOST_VALUES)
    if not isinstance(parsed, dict) or parsed.keys() != {MARK}:
        raise ValueError(f"the line is not an object with the one member {MARK}")
    return parse(parsed[MARK])


def parse(value: object) -> Entry:
    """Return the entry of the member `MARK` of a line; raises `ValueError`, which quotes nothing.

    Programs that collect logs may write JSON in another form. The value counts, not its text.
    """
    match value:
        case {"entry": dict(members), "signature": str(signature), **others} if not others:
            pass
        case _:
            raise ValueError("the value has not exactly the members entry and signature")
    match members:
        case {
            "log": str(log),
            "sequence": int(sequence),
            "previous": str(previous),
            "time": str(time),
            "worker": str(worker),
            "chain": str(chain),
            "decision": str(),
        }:
            at = parse_time(time)
        case _:
            raise ValueError("a member of the entry is missing or of another type")
    if (
        at is None
        or type(sequence) is not int  # a bool is an int
        or not 0 < sequence < _MOST_ENTRIES
        or _LOG.fullmatch(log) is None
        or (previous != NO_ENTRY if sequence == 1 else _DIGEST.fullmatch(previous) is None)
        or not is_workload(worker)
        or len(chain) > LONGEST_CHAIN
        or len(signature) > _LONGEST_SIGNATURE
    ):
        raise ValueError("a member of the entry is malformed")
    return Entry(
        log,
        sequence,
        previous,
        at,
        worker,
        chain,
        members,
        canonical(members),
        base64url.decode(signature),
    )
