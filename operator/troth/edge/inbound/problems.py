"""Problem documents (RFC 9457) for rejections."""

import json

from troth.edge.inbound.refusal import Refusal

_TYPE = "https://troth.dev/problems/"


def body(refusal: Refusal) -> bytes:
    """Return the document: `type`, `title`, `status`, `detail`, and a `code` for programs."""
    code = refusal.answered
    document = {
        "type": f"{_TYPE}{code}",
        "title": code.replace("-", " ").capitalize(),
        "status": refusal.status.value,
        "detail": refusal.sentence,
        "code": code,
    }
    return json.dumps(document).encode("ascii")


def headers(refusal: Refusal, length: int) -> list[tuple[str, str]]:
    """Return the headers of a response with a body of that size."""
    found = [
        ("Content-Type", "application/problem+json"),
        ("Content-Length", str(length)),
        ("Cache-Control", "no-store"),
    ]
    if refusal.challenge is not None:
        found.append(("WWW-Authenticate", refusal.challenge))
    return found
