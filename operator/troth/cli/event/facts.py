"""Facts about an event or a message, as rows of text and as JSON."""

import base64
from collections.abc import Mapping
from datetime import timedelta
from hashlib import sha256
from typing import Any

from troth.cli.event.certificate import CertificateFacts
from troth.cli.event.explain import Case, age, moment
from troth.cli.event.remedies import sentence
from troth.cli.quoting import quoted, without_tokens
from troth.cli.status.track import length
from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.edge.events.event import Event
from troth.edge.events.message import Message
from troth.edge.events.redrive import Redrive
from troth.edge.events.rejection import Rejection
from troth.resources.schema.scalars import format_time

_LABELS = {
    "requestID": "request id",
    "contentType": "content type",
}
_CARRIED = {
    "id": "id",
    "type": "type",
    "source": "source",
    "policy": "trothpolicy",
    "broker": "trothbroker",
    "topic": "trothtopic",
    "environment": "trothenvironment",
    "subject": "authid",
    "tenant": "trothtenant",
    "requestID": "trothtxn",
    "schema": "dataschema",
    "time": "time",
}
"""The attributes that are shown, by their names in the output."""


def event_document(event: Event) -> dict[str, Any]:
    """Return the verified fields of an event that it has, as JSON."""
    facts = {
        "id": event.id,
        "type": event.type,
        "actor": event.actor,
        "subject": event.subject,
        "tenant": event.tenant,
        "requestID": event.request_id,
        "time": format_time(event.time),
        "topic": event.topic,
        "policy": event.policy,
        "about": event.about,
        "contentType": event.content_type,
    }
    found: dict[str, Any] = {
        name: without_tokens(each) for name, each in facts.items() if each is not None
    }
    if event.redrive is not None:
        found["redrive"] = redrive_document(event.redrive)
    return found


def redrive_document(redrive: Redrive) -> dict[str, Any]:
    """Return a redrive as JSON: who had the event delivered again, and how often."""
    facts: dict[str, Any] = {
        "review": redrive.review,
        "requestedBy": redrive.requested_by,
        "approvedBy": redrive.approved_by,
        "count": redrive.count,
        "letter": redrive.letter,
        "time": format_time(redrive.time),
    }
    return {
        name: without_tokens(each) if isinstance(each, str) else each
        for name, each in facts.items()
        if each is not None
    }


def event_rows(event: Event, now: float) -> dict[str, object]:
    """Return the same as text."""
    rows = event_document(event)
    rows["time"] += f", {age(event.time.timestamp(), now)}"
    if event.redrive is not None:
        rows["redrive"] = _redrive_text(event.redrive)
    return _labelled(rows)


def rejection_document(rejection: Rejection) -> dict[str, Any]:
    """Return a rejection as JSON; `actor` is the producer if its seal was verified."""
    said = {"code": rejection.reason.value, "sentence": without_tokens(sentence(rejection))}
    return said | ({"actor": rejection.actor} if rejection.actor is not None else {})


def _redrive_text(redrive: Redrive) -> str:
    approved = f", approved by {redrive.approved_by}" if redrive.approved_by is not None else ""
    by = f"requested by {redrive.requested_by}{approved}"
    return f"number {redrive.count}, review {redrive.review}, {by}, {format_time(redrive.time)}"


def letter_document(letter: DeadLetter) -> dict[str, Any]:
    """Return the verified fields of a dead letter as JSON."""
    facts: dict[str, Any] = {
        "id": letter.id,
        "consumer": letter.consumer,
        "group": letter.group,
        "policy": letter.policy,
        "code": letter.rejection.reason.value,
        "detail": without_tokens(letter.rejection.detail),
        "origin": letter.origin,
        "attempts": letter.attempts,
        "time": format_time(letter.time),
        "omitted": sorted(letter.omitted),
    }
    if letter.data_size is not None:
        facts |= {"dataSize": letter.data_size, "dataDigest": letter.data_digest}
    return {name: each for name, each in facts.items() if each is not None}


def letter_rows(letter: DeadLetter, now: float) -> dict[str, object]:
    """Return the same as text."""
    group = f", group {letter.group}" if letter.group is not None else ""
    rows: dict[str, object] = {
        "reason": f"{letter.rejection.reason}: {letter.rejection.detail}",
        "consumer": f"{letter.consumer}{group}",
        "policy": letter.policy,
        "origin": letter.origin,
        "attempts": letter.attempts,
        "time": f"{format_time(letter.time)}, {age(letter.time.timestamp(), now)}",
    }
    if letter.omitted:
        size = f", {letter.data_size} bytes" if letter.data_size is not None else ""
        parts = " and ".join(sorted(letter.omitted))
        rows["omitted"] = f"{parts}{size}; so the original cannot be accepted"
    return rows


def message_document(case: Case) -> dict[str, Any]:
    """Return what a message says, which is not verified, as JSON."""
    message, stored = case.message, case.message.stored_at
    found: dict[str, Any] = {"origin": message.origin}
    if stored is not None:
        found["storedAt"] = format_time(moment(stored))
    for name, attribute in _CARRIED.items():
        if attribute in message.attributes:
            found[name] = without_tokens(message.attributes[attribute])
    return found


def message_rows(case: Case) -> dict[str, object]:
    """Return the same as text, with the size of the data."""
    rows = message_document(case)
    if case.time is not None:
        rows["time"] += f", {age(case.time, case.now)}"
    if case.message.stored_at is not None:
        stored = rows.pop("storedAt")
        rows["stored"] = f"{stored}, {age(case.message.stored_at, case.now)}"
    return _labelled(rows) | {"data": data_text(case.message)}


def certificate_document(facts: CertificateFacts | None) -> dict[str, Any] | None:
    """Return the leaf that a message carries as JSON, None if there is none to read."""
    if facts is None:
        return None
    return {
        "spiffeID": facts.spiffe_id,
        "fingerprint": facts.fingerprint,
        "notBefore": format_time(facts.not_before),
        "notAfter": format_time(facts.not_after),
        "issuer": facts.issuer,
        "authorities": None if facts.authorities is None else list(facts.authorities),
    }


def certificate_rows(facts: CertificateFacts | None, now: float) -> dict[str, object]:
    """Return the same as text."""
    if facts is None:
        return {"certificate": "none that can be read"}
    known = facts.authorities
    if facts.issuer is not None:
        issuer = f"{facts.issuer}, an authority of {facts.trust_domain}"
    elif known is None:
        issuer = f"unknown; the bundle does not have the trust domain {facts.trust_domain}"
    else:
        there = ", ".join(known) or "none"
        issuer = f"unknown; the authorities of {facts.trust_domain} are {there}"
    end = facts.not_after.timestamp()
    verb = "expires" if end > now else "expired"
    valid = f"{format_time(facts.not_before)} to {format_time(facts.not_after)}"
    return {
        "certificate": f"{facts.fingerprint} of {facts.spiffe_id}",
        "valid": f"{valid}, {verb} {age(end, now)}",
        "issuer": issuer,
    }


def expected_document(case: Case) -> dict[str, Any] | None:
    """Return what the policy expects as JSON, None if the identity has no grant by it.

    `maxAge` is in seconds, and the current schema is the first.
    """
    if case.rights is None:
        return None
    granted = case.rights.granted
    return {
        "producers": sorted(granted.producers),
        "environment": granted.environment,
        "maxAge": granted.context.max_age,
        "context": sorted(granted.context.require),
        "evidence": granted.context.evidence,
        "tenants": None if granted.tenants is None else sorted(granted.tenants),
        "schemas": [{"type": each.type, "digest": each.digest} for each in granted.schemas],
    }


def expected_rows(case: Case) -> dict[str, object]:
    """Return the same as text."""
    expected = expected_document(case)
    if expected is None:
        return {"grant": "none"}
    schemas = [f"{each['type']} {each['digest']}" for each in expected["schemas"]]
    tenants = expected["tenants"]
    return {
        "producers": ", ".join(expected["producers"]) or "none",
        "environment": expected["environment"],
        "maximum age": length(timedelta(seconds=expected["maxAge"])),
        "context": f"{', '.join(expected['context'])}; evidence {expected['evidence']}",
        "tenants": "all" if tenants is None else ", ".join(tenants),
        "schemas": ", ".join(schemas) or "none",
    }


def data_text(message: Message) -> str:
    """Return the size and the digest of a message's data."""
    if message.data is None:
        return "none"
    return f"{len(message.data)} bytes, SHA-256 {sha256(message.data).hexdigest()}"


def data_document(message: Message, *, payload: bool) -> dict[str, Any] | None:
    """Return a message's data as JSON: its size and digest, and itself only with `payload`."""
    data = message.data
    if data is None:
        return None
    facts = {"bytes": len(data), "sha256": sha256(data).hexdigest()}
    return facts | ({"base64": base64.b64encode(data).decode()} if payload else {})


def payload_text(data: bytes) -> str:
    """Return data as one line that is safe to print; bytes that are not UTF-8 are escaped."""
    return quoted(data.decode(errors="backslashreplace"))


def _labelled(facts: Mapping[str, Any]) -> dict[str, object]:
    return {_LABELS.get(name, name): each for name, each in facts.items()}
