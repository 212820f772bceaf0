"""Dead letters as the list API shows them. Only `payload_document` has data of a message."""

import base64
from typing import Any

from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.resources.schema.scalars import format_time
from troth.review.api.dry_run import DryRunResult
from troth.review.api.source import CheckResult, Examination
from troth.review.letters.letter import Letter

Document = dict[str, Any]


def letter_document(letter: Letter) -> Document:
    """Return the fields of a letter that it has."""
    facts: Document = {
        "id": letter.id,
        "time": format_time(letter.time),
        "state": letter.state.value,
        "reason": letter.reason,
        "consumer": letter.consumer,
        "group": letter.group,
        "producer": letter.producer,
        "tenant": letter.tenant,
        "eventID": letter.event_id,
        "origin": letter.origin,
        "attempts": letter.attempts,
        "redrives": letter.redrives,
        "size": letter.size,
        "digest": letter.digest,
        "partition": letter.position.partition,
        "offset": letter.position.offset,
        "review": None if letter.review is None else str(letter.review),
    }
    return {name: value for name, value in facts.items() if value is not None}


def examined_document(letter: Letter, examination: Examination) -> Document:
    """Return a letter, each check of its original, and what a redrive would do now."""
    forecast, found = examination.redrive, examination.dead_letter
    stated: Document = {}
    if found is not None:
        stated = {
            "detail": found.rejection.detail,
            "omitted": sorted(found.omitted),
        }
    redrive: Document = {"outcome": forecast.outcome.value}
    if forecast.reason is not None:
        redrive |= {"reason": forecast.reason, "detail": forecast.detail}
    return {
        "letter": letter_document(letter) | stated,
        "checks": [_check_document(each) for each in examination.checks],
        "redrive": redrive,
    }


def _check_document(check: CheckResult) -> Document:
    said: Document = {"name": check.name, "verdict": check.verdict.value}
    return said | ({"reason": check.reason, "detail": check.detail} if check.reason else {})


def payload_document(letter: Letter, found: DeadLetter) -> Document:
    """Return the data of a letter's original message."""
    message = found.message
    return {
        "id": letter.id,
        "digest": letter.digest,
        "contentType": message.attributes.get("datacontenttype"),
        "data": base64.b64encode(message.data or b"").decode(),
    }


def dry_run_document(result: DryRunResult) -> Document:
    """Return what a review would do, and the first letters that it would select."""
    return {
        "count": result.count,
        "digest": result.digest,
        "until": format_time(result.until),
        "examined": result.examined,
        "outcomes": [
            {"outcome": outcome.value, "count": count}
            | ({"reason": reason} if reason is not None else {})
            for (outcome, reason), count in result.outcomes
        ],
        "sample": [letter_document(each) for each in result.sample],
    }
