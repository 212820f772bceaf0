"""The consumer's side: verifies a message, and returns its event or a rejection.

Pure, apart from the identity's files and the clock. The checks always run in the same order, from
the form of the message to its data. The result for a producer's certificates is cached until the
identity's files change, so a chain is verified once and not for each message.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from time import time
from typing import Final

from troth.documents.event_bundles import TOLERANCE
from troth.edge.events.attributes import SEAL, SIGNED, fault_of, parse_time
from troth.edge.events.case import Case, Terms
from troth.edge.events.event import Event
from troth.edge.events.message import Message
from troth.edge.events.redriven import check_redrive
from troth.edge.events.rejection import Reason, RejectedError, Rejection
from troth.edge.events.rights import Rights, rights_of
from troth.edge.events.schemas.validator import Validator
from troth.edge.events.seal.producers import producers
from troth.edge.events.seal.verification import compare_seal, verify_certificate, verify_signature
from troth.edge.events.transactions import check_transaction, missing, verify_transaction
from troth.edge.events.validators import validator_of
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import Snapshot

MOST_BYTES = 1024 * 1024
"""Default of the maximum size of an event's data in bytes, which Kafka and NATS have too."""

_TRANSACTION_TOKEN = "TransactionToken"  # noqa: S105 - a kind of evidence


class Opener:
    """Opens the messages of one policy."""

    action: str = "Consume"
    """Action of the entry in `identity.json` that gives the rights."""

    def __init__(
        self,
        identity: Identity,
        policy: str,
        *,
        group: str | None = None,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create an opener without reading any file.

        `policy` is `<namespace>/<name>` of a TopicPolicy. `group` is needed if this workload
        consumes by the policy with several groups. `most_bytes` limits an event's data. `clock`
        returns seconds since the epoch.
        """
        self.policy = policy
        self._identity = identity
        self._group = group
        self._most_bytes = most_bytes
        self._clock = clock
        self._terms: Terms | None = None

    def open(self, message: Message) -> Event | Rejection:
        """Return the event of a message, or the reason for which it is rejected.

        Raises `IdentityError` if this workload has never had usable files.
        """
        case = Case(message, self._identity.current, self._clock())
        try:
            for check in _IN_ORDER:
                check(self, case)
        except RejectedError as error:
            return replace(error.rejection, actor=case.actor)
        return case.event()

    def explain(self, message: Message) -> "Explanation":
        """Return the verdict of every check that does not depend on a failed one."""
        case = Case(message, self._identity.current, self._clock())
        verdicts: list[Verdict] = []
        for name, check in CHECKS.items():
            if name in _ON_REDRIVE and any(
                each.check == "redrive" and each.rejection for each in verdicts
            ):
                continue
            try:
                check(self, case)
            except RejectedError as error:
                verdicts.append(Verdict(name, replace(error.rejection, actor=case.actor)))
                if name in _NEEDED:
                    break
            else:
                verdicts.append(Verdict(name, None))
        passed = not any(each.rejection for each in verdicts)
        return Explanation(tuple(verdicts), case.event() if passed else None)

    def rights(self, snapshot: Snapshot) -> Rights:
        """Return this workload's rights at the policy; raises `RejectedError` without them."""
        return self._terms_in(snapshot).rights

    def _terms_in(self, snapshot: Snapshot) -> "Terms":
        terms = self._terms
        if terms is None or terms.rights.snapshot is not snapshot:
            rights = rights_of(snapshot, self.policy, self.action, self._group)
            terms = Terms(rights, producers(rights.bundles))
            self._terms = terms
        return terms

    def check_grant(self, case: Case) -> None:
        """Find the rights of this workload."""
        case.terms = self._terms_in(case.snapshot)
        case.rights = case.terms.rights

    def check_redrive(self, case: Case) -> None:
        """Verify the redrive, if a review delivered the message again."""
        check_redrive(case)

    def check_form(self, case: Case) -> None:
        """Check the form of the attributes, and the size of the data."""
        message = case.message
        if message.fault is not None:
            raise RejectedError(message.fault.reason, message.fault.detail)
        if message.data is None:
            raise RejectedError(Reason.MALFORMED, "the message has no data, as a tombstone has")
        if len(message.data) > self._most_bytes:
            raise RejectedError(
                Reason.TOO_LARGE,
                f"the data has {len(message.data)} bytes; at most {self._most_bytes} are allowed",
            )
        if SEAL not in message.attributes:
            raise RejectedError(
                Reason.UNSIGNED, f"the message has no attribute {SEAL}; publish it with a sealer"
            )
        fault = fault_of(message.attributes)
        if fault is not None:
            raise RejectedError(Reason.MALFORMED, fault)
        at = parse_time(message.attributes["time"])
        assert at is not None
        case.data, case.time = message.data, at

    def check_seal(self, case: Case) -> None:
        """Compare the seal's digests with the message. The signature is not verified yet."""
        compare_seal(case, SIGNED)

    def check_certificate(self, case: Case) -> None:
        """Verify the producer's certificates at the time of the event."""
        verify_certificate(case)

    def check_signature(self, case: Case) -> None:
        """Verify the signature with the key of the producer's certificate."""
        verify_signature(case)

    def check_producer(self, case: Case) -> None:
        """Check that the producer has a live grant."""
        spiffe_id = case.svid.spiffe_id
        if spiffe_id not in case.rights.granted.producers:
            raise RejectedError(
                Reason.PRODUCER_NOT_GRANTED,
                f"{spiffe_id} has no grant to publish by the TopicPolicy {self.policy}",
            )

    def check_policy(self, case: Case) -> None:
        """Check that the event was sealed for this policy and this broker."""
        granted = case.rights.granted
        for name, expected in (("trothpolicy", granted.policy), ("trothbroker", granted.broker)):
            if case.attributes[name] != expected:
                raise RejectedError(Reason.WRONG_POLICY, f"the attribute {name} is not {expected}")

    def check_environment(self, case: Case) -> None:
        """Check that the event was sealed for this environment."""
        expected = case.rights.granted.environment
        if case.attributes["trothenvironment"] != expected:
            raise RejectedError(
                Reason.WRONG_ENVIRONMENT, f"the attribute trothenvironment is not {expected}"
            )

    def check_topic(self, case: Case) -> None:
        """Check that the event was sealed for the topic that delivered it, or the original."""
        topic = case.message.topic if case.redrive is None else case.redrive.origin_topic
        if case.attributes["trothtopic"] != topic:
            raise RejectedError(
                Reason.WRONG_TOPIC, "the event was sealed for another topic than delivered it"
            )
        if not case.rights.includes(topic):
            raise RejectedError(
                Reason.WRONG_TOPIC, f"the TopicPolicy {self.policy} does not include the topic"
            )

    def check_time(self, case: Case) -> None:
        """Check the age of the event, and the broker's time.

        The review of a message that is delivered again may take long, so its age does not count.
        The broker's time is that of the original. If it is not known, the reviewer has checked the
        age that the event had when it was rejected, which the redrive does not say.
        """
        age, most = case.now - case.time, case.rights.granted.context.max_age
        redrive = case.redrive
        if age > most and redrive is None:
            raise RejectedError(
                Reason.EXPIRED,
                f"the event is {int(age)} s old; at most {most} s are allowed (context.maxAge)",
            )
        if age < -TOLERANCE:
            raise RejectedError(
                Reason.NOT_YET_VALID,
                f"the event is from {int(-age)} s in the future; correct the clock that is wrong",
            )
        stored = case.message.stored_at if redrive is None else redrive.stored_at
        if stored is not None and abs(stored - case.time) > TOLERANCE:
            raise RejectedError(
                Reason.TIME_MISMATCH,
                f"the broker stored the event {int(stored - case.time)} s after its time; at most "
                f"{int(TOLERANCE)} s are allowed",
            )

    def check_context(self, case: Case) -> None:
        """Check that the event has the context that the policy requires."""
        absent = missing(case.rights, case.attributes)
        if absent is not None:
            raise RejectedError(
                Reason.CONTEXT_MISSING, f"the event has no {absent}, which the policy requires"
            )

    def check_transaction(self, case: Case) -> None:
        """Check the evidence for the context."""
        if case.rights.granted.context.evidence != _TRANSACTION_TOKEN:
            return
        token = case.attributes.get("trothtxntoken")
        if token is None:
            raise RejectedError(
                Reason.TRANSACTION_TOKEN_INVALID,
                "the event has no transaction token, which the policy requires as evidence",
            )
        case.token = verify_transaction(case.rights, token, case.time)
        check_transaction(case.token, case.attributes)

    def check_tenant(self, case: Case) -> None:
        """Check that this consumer accepts events of the tenant."""
        tenants = case.rights.granted.tenants
        if tenants is not None and case.attributes.get("trothtenant") not in tenants:
            raise RejectedError(
                Reason.TENANT_NOT_ACCEPTED,
                "this consumer does not accept events of the event's tenant",
            )

    def check_schema(self, case: Case) -> None:
        """Validate the data by the schema that the event names."""
        validator = self._validator(case)
        if validator is None:
            return
        checked = validator.check(case.data)
        if checked.fault is not None:
            raise RejectedError(Reason.SCHEMA_INVALID, checked.fault)
        case.payload = checked.payload

    def _validator(self, case: Case) -> Validator | None:
        rights = case.rights
        if not rights.granted.schemas and rights.granted.schema_fault is None:
            return None
        if rights.granted.schema_fault is not None:
            raise RejectedError(
                Reason.SCHEMA_UNAVAILABLE,
                f"the policy's schema cannot be used: {rights.granted.schema_fault}",
            )
        named = rights.schemas.get(case.attributes.get("dataschema", ""))
        if named is None:
            raise RejectedError(
                Reason.SCHEMA_UNKNOWN,
                "the event names no accepted schema of the policy in the attribute dataschema",
            )
        return validator_of(rights, named)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Outcome of one check; `rejection` is None if the message passed it."""

    check: str
    rejection: Rejection | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Verdicts in the order of the checks; `event` is None unless the message passed all."""

    verdicts: tuple[Verdict, ...]
    event: Event | None


CHECKS: Final[Mapping[str, Callable[[Opener, Case], None]]] = {
    "grant": Opener.check_grant,
    "redrive": Opener.check_redrive,
    "form": Opener.check_form,
    "seal": Opener.check_seal,
    "certificate": Opener.check_certificate,
    "signature": Opener.check_signature,
    "producer": Opener.check_producer,
    "policy": Opener.check_policy,
    "environment": Opener.check_environment,
    "topic": Opener.check_topic,
    "time": Opener.check_time,
    "context": Opener.check_context,
    "transaction": Opener.check_transaction,
    "tenant": Opener.check_tenant,
    "schema": Opener.check_schema,
}
"""The checks by name, in their order."""
# The checks on which all later ones depend.
_NEEDED = frozenset({"grant", "form", "seal", "certificate", "signature"})
_ON_REDRIVE = frozenset({"topic", "time"})
_IN_ORDER = tuple(CHECKS.values())
