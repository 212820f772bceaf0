"""The reviewer's side: seals the redrive of a message that is delivered again."""

from collections.abc import Callable
from datetime import UTC, datetime
from time import time
from typing import Final

from troth.edge.events import redriven
from troth.edge.events.attributes import LONGEST_REDRIVE
from troth.edge.events.bindings import kafka, nats
from troth.edge.events.case import Case, Terms
from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.edge.events.message import Message
from troth.edge.events.redrive import (
    SIGNED_REDRIVE,
    Redrive,
    attributes_of,
    digest_of,
    parse,
    write,
)
from troth.edge.events.rejection import Reason, RejectedError
from troth.edge.events.rights import rights_of
from troth.edge.events.seal.producers import producers
from troth.edge.events.seal.signer import CurrentSigner
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import Snapshot
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.references import Ref

_HEADER: Final = {
    BrokerType.KAFKA: kafka.REDRIVE_HEADER,
    BrokerType.NATS: nats.REDRIVE_HEADER,
}


class RedriveSealer:
    """Seals the redrives of one policy with the reviewer's key. It may be shared by threads."""

    def __init__(
        self, identity: Identity, policy: str, *, clock: Callable[[], float] = time
    ) -> None:
        """Create a sealer without reading any file.

        `policy` is `<namespace>/<name>` of a TopicPolicy. `clock` returns seconds since the epoch.
        """
        self.policy = policy
        self._identity = identity
        self._clock = clock
        self._signer = CurrentSigner()
        self._terms: Terms | None = None

    def header(
        self,
        letter: DeadLetter,
        *,
        review: Ref | str,
        requested_by: str,
        approved_by: str | None,
        count: int,
        target: str,
        redrive_id: str,
    ) -> tuple[str, bytes]:
        """Return the header that the original message of a letter gets.

        The message has its own headers, without an earlier redrive (`original_headers`), and its
        own data. `target` is the topic to which it is published. `count` is the number of redrives
        of the message, this one included. `redrive_id` is that of `redrive.redrive_id`. If the
        message was redriven before, the place and the time of the first original remain.

        Raises `RejectedError` if this workload may not review by the policy, its certificate has
        expired, or the redrive is malformed or too large, and `IdentityError` if there is no
        certificate to sign with.
        """
        snapshot = self._identity.current
        granted = self._terms_in(snapshot).rights.granted
        now = int(self._clock())
        original = letter.message
        if letter.omitted or "id" not in original.attributes or "source" not in original.attributes:
            raise RejectedError(Reason.MALFORMED, "the letter does not have its whole event")
        earlier = self.earlier(original)
        redrive = Redrive(
            id=redrive_id,
            review=str(review),
            requested_by=requested_by,
            approved_by=approved_by,
            count=count,
            letter=letter.id,
            event=original.attributes["id"],
            producer=original.attributes["source"],
            message=digest_of(original),
            origin_topic=earlier.origin_topic if earlier else original.topic,
            stored_at=earlier.stored_at if earlier else original.stored_at,
            consumer=letter.consumer,
            group=letter.group,
            topic=target,
            policy=granted.policy,
            broker=granted.broker,
            environment=granted.environment,
            time=datetime.fromtimestamp(now, UTC),
        )
        attributes = attributes_of(redrive, snapshot.spiffe_id)
        try:
            parse(attributes)
        except ValueError as error:
            raise RejectedError(Reason.MALFORMED, f"the redrive is malformed: {error}") from None
        sealed = self._signer.seal(snapshot, attributes, b"", SIGNED_REDRIVE, now)
        value = write(sealed.attributes)
        if len(value) > LONGEST_REDRIVE:
            raise RejectedError(
                Reason.TOO_LARGE,
                f"the redrive has {len(value)} characters; at most {LONGEST_REDRIVE} are allowed",
            )
        return _HEADER[granted.type], value.encode()

    def earlier(self, message: Message) -> Redrive | None:
        """Return the redrive of a message that was rejected again, None if it has none.

        It is verified: this reviewer sealed it, by this policy, for this message. Raises
        `RejectedError` if this workload may not review by the policy, and `IdentityError` if it has
        never had usable files.
        """
        snapshot = self._identity.current
        case = Case(message, snapshot, self._clock())
        case.terms = self._terms_in(snapshot)
        case.rights = case.terms.rights
        found = redriven.earlier(case)
        return found[0] if found is not None and found[1] in case.rights.reviewers else None

    def redrives_of(self, message: Message) -> int:
        """Return how often a rejected message was redriven before; raises what `earlier` raises."""
        redrive = self.earlier(message)
        return 0 if redrive is None else redrive.count

    def _terms_in(self, snapshot: Snapshot) -> Terms:
        terms = self._terms
        if terms is None or terms.rights.snapshot is not snapshot:
            rights = rights_of(snapshot, self.policy, "Review", None)
            terms = Terms(rights, producers(rights.bundles))
            self._terms = terms
        return terms
