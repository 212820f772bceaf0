"""Runs the checks of a signature scheme on one delivery, with results as sentences.

A scheme stops at the first failure. A timestamp outside the tolerance is reported, but the other
checks still run, because people usually debug a delivery later.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from troth.cli.checks import Check, Outcome
from troth.cli.status.track import length
from troth.cli.webhook.diagnosis import EVER, KeyText, Refused, hints, usable
from troth.documents.webhook_endpoint import Signing
from troth.resources.schema.scalars import format_duration, format_time
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.providers.sns.certificate_urls import CertificateNeededError
from troth.webhooks.schemes.registry import scheme_for
from troth.webhooks.schemes.scheme import KeyFormatError, Scheme, Verified

KEYS, FORM, COVERED, TIME, SIGNATURE, CONTENT, BODY, SENDER = (
    "keys",
    "form",
    "covered",
    "time",
    "signature",
    "content",
    "body",
    "sender",
)

_CHECKS = {
    Reason.HEADER_MISSING: FORM,
    Reason.HEADER_REPEATED: FORM,
    Reason.SIGNATURE_MISSING: FORM,
    Reason.SIGNATURE_MALFORMED: FORM,
    Reason.TOO_MANY_SIGNATURES: FORM,
    Reason.NOT_COVERED: COVERED,
    Reason.TIMESTAMP_MALFORMED: TIME,
    Reason.TIMESTAMP_TOO_OLD: TIME,
    Reason.TIMESTAMP_TOO_NEW: TIME,
    Reason.SIGNATURE_WRONG: SIGNATURE,
    Reason.CONTENT_CHANGED: CONTENT,
    Reason.BODY_MALFORMED: BODY,
    Reason.SENDER_UNEXPECTED: SENDER,
}
_ORDERS = {
    SchemeName.SNS: (BODY, SENDER, TIME, FORM, SIGNATURE),
    SchemeName.TWILIO: (FORM, CONTENT, COVERED, BODY, SIGNATURE),
    SchemeName.HTTP_SIGNATURES: (FORM, COVERED, TIME, SIGNATURE, CONTENT),
    SchemeName.DISCORD: (FORM, TIME, SIGNATURE, BODY),
}
_ORDER = (FORM, TIME, SIGNATURE)
_TOO_FAR = frozenset({Reason.TIMESTAMP_TOO_OLD, Reason.TIMESTAMP_TOO_NEW})

_GOOD = {
    FORM: "one well-formed signature is present",
    COVERED: "everything required is signed",
    TIME: "within the tolerance",
    CONTENT: "the body matches the signed digest",
    BODY: "the body has the form that the scheme signs",
    SENDER: "the sender is one of the endpoint's",
}

_MENDS = {
    Reason.HEADER_MISSING: "Save the request with all its headers.",
    Reason.HEADER_REPEATED: "Something in between adds the header a second time; find and fix it.",
    Reason.SIGNATURE_MISSING: "Save all headers, or choose the scheme that the sender uses.",
    Reason.SIGNATURE_MALFORMED: "Copy the complete header, as received.",
    Reason.TOO_MANY_SIGNATURES: "No sender adds that many signatures.",
    Reason.NOT_COVERED: "Configure the sender to cover it.",
    Reason.TIMESTAMP_MALFORMED: "Copy the timestamp as received.",
    Reason.TIMESTAMP_TOO_NEW: "Synchronize the clocks, here and at the sender.",
    Reason.CONTENT_CHANGED: "Something changed the body after it was signed.",
    Reason.BODY_MALFORMED: "Save the body as received.",
    Reason.SENDER_UNEXPECTED: "Add this sender to the endpoint if it is legitimate.",
}


@dataclass(frozen=True, slots=True)
class VerifyInput:
    """A delivery with all input of its verification; times are in seconds."""

    delivery: Delivery
    signing: Signing
    texts: tuple[KeyText, ...]
    now: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """The results of all checks; `verified` is None unless the scheme accepts the delivery.

    `codes` are the reasons for a rejection, `hints` its likely causes.
    """

    checks: tuple[Check, ...]
    verified: Verified | None
    codes: tuple[str, ...]
    hints: tuple[str, ...]


def judge(inputs: VerifyInput) -> Judgement:
    """Run the checks; raises `ValueError` for an invalid scheme."""
    scheme = scheme_for(inputs.signing)
    known, failed = _verify_untimed(scheme, inputs)
    checks = (*_keys(scheme, inputs), *_answers(scheme, inputs, known, failed))
    if not failed:
        return Judgement(checks, known, (), ())
    reasons = tuple(each.reason for each in failed.values())
    found: list[str] = []
    if known is None:
        of = (inputs.delivery, inputs.signing, inputs.texts, inputs.now)
        found = hints(Refused(*of, reasons[-1]))
    return Judgement(checks, None, tuple(each.value for each in reasons), tuple(found))


def _keys(scheme: Scheme, inputs: VerifyInput) -> Iterator[Check]:
    name, good = inputs.signing.name, []
    for each in inputs.texts:
        try:
            good.append(scheme.key(each.id, each.text).id)
        except KeyFormatError as error:
            yield Check(KEYS, Outcome.FAILED, f"{each.id}: {error}.", "key-unusable")
    if good:
        yield Check(KEYS, Outcome.PASSED, f"{', '.join(good)}: valid for {name}")
    elif not inputs.texts and name is not SchemeName.SNS:
        yield Check(KEYS, Outcome.FAILED, "No key was given; name its file with --key.", "key-none")


def _verify_untimed(
    scheme: Scheme, inputs: VerifyInput
) -> tuple[Verified | None, dict[str, RefusedError]]:
    """Return the verified delivery, ignoring its timestamp, and the failures by check."""
    keys = usable(scheme, inputs.texts)
    failed: dict[str, RefusedError] = {}
    for margin in (inputs.tolerance, EVER):
        try:
            return scheme.verify(inputs.delivery, keys, inputs.now, margin), failed
        except RefusedError as error:
            failed[_CHECKS[error.reason]] = error
            if error.reason not in _TOO_FAR:
                break
    return None, failed


def _answers(
    scheme: Scheme, inputs: VerifyInput, known: Verified | None, failed: dict[str, RefusedError]
) -> Iterator[Check]:
    order = [
        each
        for each in _ORDERS.get(inputs.signing.name, _ORDER)
        if each != TIME or scheme.signs_timestamp
    ]
    order += [each for each in failed if each not in order]
    last = "" if known is not None else list(failed)[-1]
    reached = True
    for name in order:
        if name in failed:
            yield _failure(name, failed[name], known, inputs)
        elif reached:
            yield Check(name, Outcome.PASSED, _success(name, known, inputs))
        else:
            yield Check(name, Outcome.NOT_RUN)
        reached = reached and name != last


def _success(name: str, known: Verified | None, inputs: VerifyInput) -> str:
    if known is not None and name == SIGNATURE:
        return f"made by the key {known.key_id}"
    if known is not None and name == TIME and known.timestamp is not None:
        away = _away(known.timestamp, inputs.now)
        return f"{away}, which is within {_span(inputs.tolerance)}"
    return _GOOD.get(name, "")


def _failure(name: str, error: RefusedError, known: Verified | None, inputs: VerifyInput) -> Check:
    sentence, mend = f"{str(error)[:1].upper()}{str(error)[1:]}.", _MENDS.get(error.reason, "")
    if isinstance(error, CertificateNeededError):
        mend = f"Download it from {error.url} and name its file with --key."
    if error.reason in _TOO_FAR and known is not None and known.timestamp is not None:
        away, borne = _away(known.timestamp, inputs.now), _span(inputs.tolerance)
        sentence = f"It was {away}, but the tolerance is {borne}. All other checks passed."
        then = format_time(datetime.fromtimestamp(known.timestamp, UTC))
        mend = f"To verify it as of then, add --at {then}."
    return Check(name, Outcome.FAILED, f"{sentence} {mend}".strip(), error.reason.value)


def _away(timestamp: int, now: float) -> str:
    span = timedelta(seconds=abs(now - timestamp))
    return f"signed {length(span)} " + ("ago" if timestamp <= now else "in the future")


def _span(tolerance: float) -> str:
    return format_duration(timedelta(seconds=tolerance))
