"""Messages that a review delivered again: the consumer verifies their redrive."""

from troth.documents.event_bundles import TOLERANCE
from troth.edge.events.attributes import REDRIVE, parse_time
from troth.edge.events.case import Case
from troth.edge.events.message import Message
from troth.edge.events.redrive import SIGNED_REDRIVE, Redrive, digest_of, parse, read
from troth.edge.events.rejection import Reason, RejectedError
from troth.edge.events.seal.verification import compare_seal, verify_certificate, verify_signature


def check_redrive(case: Case) -> None:
    """Verify the redrive of a message, if it has one, and keep it in the case.

    Raises `RejectedError` with `RedriveInvalid`, also for a message on the retry topic without a
    redrive, and with `NotAddressed` for a valid redrive to another consumer.
    """
    text = case.attributes.get(REDRIVE)
    if text is None:
        if case.message.fault is None and _is_retry_topic(case):
            raise _invalid("the message is on the retry topic and has no redrive")
        return
    redrive, reviewer = verified(case, text)
    _check_message(case, redrive)
    _check_place(case, redrive)
    _check_time(case, redrive)
    granted = case.rights.granted
    if reviewer not in granted.reviewers:
        case.actor = reviewer
        raise _invalid(f"{reviewer} carries out no reviews for the TopicPolicy {granted.policy}")
    if not is_addressed(redrive, case.snapshot.spiffe_id, granted.group):
        raise RejectedError(
            Reason.NOT_ADDRESSED, "a review delivered the message again, to another consumer"
        )
    if granted.retry is not None and not _is_retry_topic(case):
        raise _invalid("this consumer accepts redrives on its retry topic only")
    case.redrive = redrive


def verified(case: Case, text: str) -> tuple[Redrive, str]:
    """Return a redrive whose seal is valid, and the SPIFFE ID of the workload that signed it.

    Of the case, its terms, snapshot and time are used. Raises `RejectedError` with
    `RedriveInvalid`.
    """
    try:
        attributes = read(text)
        redrive = parse(attributes)
    except ValueError as error:
        raise _invalid(f"the redrive cannot be read: {error}") from None
    sealed = Case(Message(redrive.topic, attributes, b""), case.snapshot, case.now)
    at = parse_time(attributes["time"])
    assert at is not None
    sealed.terms, sealed.data, sealed.time = case.terms, b"", at
    try:
        compare_seal(sealed, SIGNED_REDRIVE)
        verify_certificate(sealed)
        verify_signature(sealed)
    except RejectedError as error:
        reason = error.rejection.reason
        raise _invalid(f"the seal of the redrive cannot be verified ({reason})") from None
    return redrive, sealed.svid.spiffe_id


def earlier(case: Case) -> tuple[Redrive, str] | None:
    """Return the redrive of a message that was rejected again, and the workload that signed it.

    Returns None unless it is valid for this policy and this message. Whether the workload is a
    reviewer is for the caller to check. Of the case, its terms, rights, snapshot and time are used.
    """
    text = case.attributes.get(REDRIVE)
    if text is None:
        return None
    try:
        redrive, reviewer = verified(case, text)
    except RejectedError:
        return None
    ours = redrive.policy == case.rights.granted.policy
    return (redrive, reviewer) if ours and redrive.message == digest_of(case.message) else None


def is_addressed(redrive: Redrive, spiffe_id: str, group: str | None) -> bool:
    """Return whether a redrive is for a consumer.

    The members of a group share its messages, and another workload may have rejected the original,
    or the same one in an earlier trust domain. Without a group, the workload must be the same.
    """
    if group is not None:
        return redrive.group == group
    return redrive.group is None and redrive.consumer == spiffe_id


def _check_message(case: Case, redrive: Redrive) -> None:
    attributes = case.attributes
    event = (attributes.get("id"), attributes.get("source"))
    if event != (redrive.event, redrive.producer) or digest_of(case.message) != redrive.message:
        raise _invalid("the redrive is for another message")


def _check_place(case: Case, redrive: Redrive) -> None:
    granted, topic = case.rights.granted, case.message.topic
    ours = (granted.policy, granted.broker, granted.environment)
    if (redrive.policy, redrive.broker, redrive.environment) != ours:
        raise _invalid("the redrive is for another policy, broker or environment")
    if redrive.topic != topic:
        raise _invalid("the redrive is for another topic than delivered it")
    if not (_is_retry_topic(case) or case.rights.includes(topic)):
        raise _invalid("the redrive is for a topic that is not this consumer's")


def _check_time(case: Case, redrive: Redrive) -> None:
    """Check that the worker published the message when it sealed the redrive."""
    at, stored = redrive.time.timestamp(), case.message.stored_at
    if at - case.now > TOLERANCE:
        raise _invalid("the redrive is from the future; correct the clock that is wrong")
    if stored is not None and abs(stored - at) > TOLERANCE:
        raise _invalid(
            f"the broker stored the message {int(stored - at)} s after its redrive; at most "
            f"{int(TOLERANCE)} s are allowed"
        )
    most = case.rights.granted.context.max_age
    if stored is None and case.now - at > most:
        raise _invalid(
            f"the redrive is {int(case.now - at)} s old; at most {most} s are allowed "
            "(context.maxAge)"
        )


def _is_retry_topic(case: Case) -> bool:
    retry = case.rights.granted.retry
    return retry is not None and retry.topic == case.message.topic


def _invalid(detail: str) -> RejectedError:
    return RejectedError(Reason.REDRIVE_INVALID, detail)
