"""The producer's side: validates an event and seals it."""

from collections.abc import Callable
from time import time

from troth.edge.events.attributes import (
    SIGNED,
    SPEC_VERSION,
    write_time,
)
from troth.edge.events.message import Sealed
from troth.edge.events.opening import MOST_BYTES
from troth.edge.events.rejection import Reason, RejectedError
from troth.edge.events.rights import CARRIED, Rights, rights_of
from troth.edge.events.seal.signer import CurrentSigner
from troth.edge.events.transactions import (
    TENANT,
    check_transaction,
    missing,
    verify_transaction,
)
from troth.edge.events.validators import validator_of
from troth.edge.identity.files import Identity
from troth.edge.identity.snapshot import Snapshot
from troth.edge.inbound.caller import CALLER
from troth.edge.outbound.transactions import current_token
from troth.pki.encodings.random_uuid import random_uuid

APP_USER = "app_user"
"""Default of `authtype`: an end user of an application (CloudEvents, authcontext)."""


class SealingError(ValueError):
    """An event that consumers would reject, so it was not sealed.

    `reason` is the reason that a consumer would give. The text quotes no data and no token.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Sealer:
    """Seals the events of one policy with the identity's key. It may be shared by threads."""

    def __init__(
        self,
        identity: Identity,
        policy: str,
        *,
        most_bytes: int = MOST_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        """Create a sealer without reading any file.

        `policy` is `<namespace>/<name>` of a TopicPolicy. `most_bytes` limits an event's data.
        `clock` returns seconds since the epoch.
        """
        self.policy = policy
        self._identity = identity
        self._most_bytes = most_bytes
        self._clock = clock
        self._rights: Rights | None = None
        self._signer = CurrentSigner()

    def seal(
        self,
        data: bytes,
        *,
        type: str,  # noqa: A002 - the attribute's name in CloudEvents
        topic: str | None = None,
        subject: str | None = None,
        subject_type: str = APP_USER,
        tenant: str | None = None,
        request_id: str | None = None,
        transaction: str | None = None,
        about: str | None = None,
        id: str | None = None,  # noqa: A002 - the attribute's name in CloudEvents
        content_type: str = "application/json",
    ) -> Sealed:
        """Return the event, sealed.

        `type` is the CloudEvents type. `topic` is needed if the policy is for a prefix. `subject`,
        `tenant` and `request_id` say on whose behalf the event is published. Those that the policy
        requires default to those of the request being served. `transaction` is the transaction
        token that proves them, by default that of the served request; it is used only if the policy
        requires this evidence. `about` is the attribute `subject` of CloudEvents. `id` is a UUID by
        default; with an ID of your own, consumers recognise a repeated event.

        Raises `SealingError` if a consumer would reject the event, and `IdentityError` if there is
        no certificate to sign with.
        """
        snapshot = self._identity.current
        now = int(self._clock())
        try:
            rights = self._rights_in(snapshot)
            granted = rights.granted
            attributes = {
                "id": id if id is not None else random_uuid(),
                "source": snapshot.spiffe_id,
                "specversion": SPEC_VERSION,
                "type": type,
                "datacontenttype": content_type,
                "time": write_time(now),
                "trothpolicy": granted.policy,
                "trothbroker": granted.broker,
                "trothtopic": self._topic(rights, topic),
                "trothenvironment": granted.environment,
            }
            if about is not None:
                attributes["subject"] = about
            if subject is not None:
                attributes["authid"] = subject
            if tenant is not None:
                attributes["trothtenant"] = tenant
            if request_id is not None:
                attributes["trothtxn"] = request_id
            self._add_context(rights, attributes, transaction, now)
            if "authid" in attributes:
                attributes["authtype"] = subject_type
            self._add_schema(rights, attributes, data)
            return self._signer.seal(snapshot, attributes, data, SIGNED, now)
        except RejectedError as error:
            raise SealingError(error.rejection.reason, error.rejection.detail) from None

    def _rights_in(self, snapshot: Snapshot) -> Rights:
        rights = self._rights
        if rights is None or rights.snapshot is not snapshot:
            rights = rights_of(snapshot, self.policy, "Publish", None)
            self._rights = rights
        return rights

    def _topic(self, rights: Rights, topic: str | None) -> str:
        chosen = topic if topic is not None else rights.granted.topic
        if chosen is None:
            raise RejectedError(
                Reason.WRONG_TOPIC,
                f"the TopicPolicy {self.policy} has a prefix; name a topic under it",
            )
        if not rights.includes(chosen):
            raise RejectedError(
                Reason.WRONG_TOPIC, f"the TopicPolicy {self.policy} does not include the topic"
            )
        return chosen

    def _add_context(
        self,
        rights: Rights,
        attributes: dict[str, str],
        transaction: str | None,
        now: int,
    ) -> None:
        if rights.granted.context.evidence == "TransactionToken":
            self._add_transaction(rights, attributes, transaction or current_token(), now)
        else:
            _add_from_request(rights, attributes)
        absent = missing(rights, attributes)
        if absent is not None:
            raise RejectedError(
                Reason.CONTEXT_MISSING, f"the event has no {absent}, which the policy requires"
            )

    def _add_transaction(
        self, rights: Rights, attributes: dict[str, str], token: str | None, now: int
    ) -> None:
        if token is None:
            raise RejectedError(
                Reason.TRANSACTION_TOKEN_INVALID,
                "there is no transaction token, which the policy requires as evidence",
            )
        verified = verify_transaction(rights, token, now)
        proven = {
            "authid": verified.subject,
            "trothtenant": verified.context.get(TENANT),
            "trothtxn": verified.transaction,
        }
        for name, each in proven.items():
            if each is not None:
                attributes.setdefault(name, each)
        check_transaction(verified, attributes)
        attributes["trothtxntoken"] = token

    def _add_schema(self, rights: Rights, attributes: dict[str, str], data: bytes) -> None:
        if len(data) > self._most_bytes:
            raise RejectedError(
                Reason.TOO_LARGE,
                f"the data has {len(data)} bytes; at most {self._most_bytes} are allowed",
            )
        granted = rights.granted
        if granted.schema_fault is not None:
            raise RejectedError(
                Reason.SCHEMA_UNAVAILABLE,
                f"the policy's schema cannot be used: {granted.schema_fault}",
            )
        fault = None
        # During a rollout, a producer may still publish in the form of the previous schema.
        for name, schema in rights.schemas.items():
            found = validator_of(rights, schema).check(data).fault
            if found is None:
                attributes["dataschema"] = name
                return
            fault = fault or found
        if fault is not None:
            raise RejectedError(Reason.SCHEMA_INVALID, fault)


def _add_from_request(rights: Rights, attributes: dict[str, str]) -> None:
    """Add the required context items that are missing, from the request being served."""
    caller = CALLER.get()
    if caller is None:
        return
    served = {
        "authid": caller.subject,
        "trothtenant": caller.tenant,
        "trothtxn": caller.request_id,
    }
    for item, name in CARRIED.items():
        value = served[name]
        if item in rights.granted.context.require and value is not None:
            attributes.setdefault(name, value)
