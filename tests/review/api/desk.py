"""A list API over letters in memory, and an API server that knows a few users."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from troth.cluster.errors import ApiError
from troth.cluster.server_clock import ServerClock
from troth.edge.events.consumption.dead_letters import DeadLetter
from troth.edge.events.message import Message
from troth.edge.events.rejection import Reason, Rejection
from troth.resources.messaging.topic_policy_status import DeadLetterCounts, ReasonCount
from troth.resources.references import Ref
from troth.resources.reviews.dead_letter_review import Letters
from troth.resources.reviews.dead_letter_review_status import LetterOutcome
from troth.review.api.access import Access, User
from troth.review.api.endpoint import app
from troth.review.api.metrics import Calls
from troth.review.api.source import CheckResult, Examination, Forecast, Verdict
from troth.review.letters.letter import Letter, LetterState, Position

Manifest = dict[str, Any]
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ORDERS = Ref("shop", "orders")
LETTERS = "/v1/namespaces/shop/policies/orders/deadletters"
DATA = b'{"card": "4111-secret"}'
DOMAIN = "prod.shop.example"


def workload(name: str) -> str:
    return f"spiffe://{DOMAIN}/ns/shop/sa/{name}"


def letter(number: int, **changed: Any) -> Letter:
    """Return the letter of a number; a higher one is younger."""
    made = Letter(
        id=f"letter-{number:04}",
        policy=ORDERS,
        position=Position(0, number),
        time=NOW - timedelta(hours=1) + timedelta(seconds=number),
        consumer=workload("fulfilment"),
        group="prod.fulfilment",
        reason="SchemaInvalid",
        origin=f"prod.orders.v1/0@{number}",
        attempts=0,
        digest=hashlib.sha256(str(number).encode()).hexdigest()[:43],
        size=len(DATA),
        event_id=f"event-{number}",
        producer=workload("checkout"),
        tenant="acme",
    )
    return replace(made, **changed)


class MemoryIndex:
    """Index of letters in memory, with the methods of `LetterIndex`."""

    def __init__(self, letters: Iterable[Letter] = ()) -> None:
        self.letters = {(each.policy, each.id): each for each in letters}

    def put(self, letters: Iterable[Letter]) -> None:
        self.letters |= {(each.policy, each.id): each for each in letters}

    def get(self, policy: Ref, id: str) -> Letter | None:  # noqa: A002 - as the index has it
        return self.letters.get((policy, id))

    def select(
        self,
        policy: Ref,
        select: Letters,
        until: datetime,
        *,
        quarantined: bool = False,
        after: Position | None = None,
        states: Collection[LetterState] = (),
    ) -> Iterator[Letter]:
        states = set(states) or {LetterState.PENDING}
        states |= {LetterState.QUARANTINED} if quarantined else set()
        found = 0
        for each in sorted(self.letters.values(), key=lambda each: each.position):
            if each.policy != policy or each.state not in states or each.time > until:
                continue
            if after is not None and each.position <= after:
                continue
            if not _matches(each, select) or found == select.limit:
                continue
            found += 1
            yield each

    def counts(self, policy: Ref) -> DeadLetterCounts:
        pending = [
            each
            for each in self.letters.values()
            if each.policy == policy and each.state is LetterState.PENDING
        ]
        reasons = sorted({each.reason for each in pending})
        return DeadLetterCounts(
            pending=len(pending),
            oldest=min((each.time for each in pending), default=None),
            reasons=tuple(
                ReasonCount(reason=name, count=sum(each.reason == name for each in pending))
                for name in reasons
            ),
        )


def _matches(each: Letter, select: Letters) -> bool:
    def is_of(reference: Any, spiffe_id: str | None) -> bool:
        ref = reference.seen_from(each.policy.namespace)
        return spiffe_id == f"spiffe://{DOMAIN}/ns/{ref.namespace}/sa/{ref.name}"

    return (
        (select.ids is None or each.id in select.ids)
        and (select.reason is None or each.reason == select.reason)
        and (select.tenant is None or each.tenant == select.tenant)
        and (select.since is None or each.time >= select.since)
        and (select.producer is None or is_of(select.producer, each.producer))
        and (select.consumer is None or is_of(select.consumer, each.consumer))
    )


def dead_letter(each: Letter, **changed: Any) -> DeadLetter:
    made = DeadLetter(
        id=each.id,
        consumer=each.consumer,
        policy=str(each.policy),
        rejection=Rejection(Reason(each.reason), "quantity: -1 is less than the minimum of 1"),
        origin=each.origin,
        attempts=each.attempts,
        time=each.time,
        message=Message("prod.orders.v1", {"datacontenttype": "application/json"}, DATA),
    )
    return replace(made, **changed)


PASSES = Forecast(LetterOutcome.REDRIVEN)
FAILS = Forecast(LetterOutcome.SKIPPED, "SchemaInvalid", "quantity: -1 is less than 1")


@dataclass
class Desk:
    """The worker's letters, what it finds out about them, and its audit log."""

    index: Any = field(default_factory=MemoryIndex)
    served: set[Ref] = field(default_factory=lambda: {ORDERS})
    reading: set[Ref] = field(default_factory=set)
    """Policies whose topics are still being read."""
    forecasts: dict[str, Forecast] = field(default_factory=dict)
    letters: dict[str, DeadLetter | None] = field(default_factory=dict)
    failure: BaseException | None = None
    examined: list[str] = field(default_factory=list)
    read: list[tuple[str, str]] = field(default_factory=list)
    audit_failure: Exception | None = None
    audit_pause: float = 0.0

    def serves(self, policy: Ref) -> bool:
        return policy in self.served

    def indexed(self, policy: Ref) -> bool:
        return policy not in self.reading

    async def examine(self, letters: Sequence[Letter]) -> Sequence[Examination]:
        return [self._examined(each) for each in letters]

    def _examined(self, letter: Letter) -> Examination:
        self.examined.append(letter.id)
        if self.failure is not None:
            raise self.failure
        checks = (
            CheckResult("grant", Verdict.PASSED),
            CheckResult("schema", Verdict.FAILED, "SchemaInvalid", "quantity: -1 is too small"),
            CheckResult("tenant", Verdict.NOT_RUN),
        )
        found = self.letters.get(letter.id, dead_letter(letter))
        return Examination(found, checks, self.forecasts.get(letter.id, PASSES))

    async def payload_read(self, user: User, letter: Letter) -> int:
        await asyncio.sleep(self.audit_pause)
        if self.audit_failure is not None:
            raise self.audit_failure
        self.read.append((user.name, letter.id))
        return len(self.read)


@dataclass
class Cluster:
    """API server with users by their tokens, and the verbs that each has."""

    users: dict[str, Manifest] = field(default_factory=dict)
    rights: dict[str, set[str]] = field(default_factory=dict)
    asked: list[Manifest] = field(default_factory=list)
    failures: dict[str, Exception] = field(default_factory=dict)
    answers: dict[str, Any] = field(default_factory=dict)
    before: Callable[[], Any] | None = None
    clock: ServerClock = field(default_factory=ServerClock)

    def add(self, name: str, *verbs: str, **user: Any) -> str:
        """Add a user; return the token."""
        token = f"token-of-{name}"
        self.users[token] = {"username": name, "uid": f"uid-{name}", "groups": ["people"]} | user
        self.rights[name] = set(verbs)
        return token

    async def create(self, manifest: Manifest) -> Manifest:
        kind, spec = manifest["kind"], manifest["spec"]
        self.asked.append(manifest)
        if self.before is not None:
            await self.before()
        if kind in self.failures:
            raise self.failures[kind]
        if kind in self.answers:
            return {**manifest, "status": self.answers[kind]}
        if kind == "TokenReview":
            user = self.users.get(spec["token"])
            known = {"authenticated": True, "user": user, "audiences": spec.get("audiences", [])}
            return {**manifest, "status": known if user else {"error": "invalid bearer token"}}
        asked = spec["resourceAttributes"]
        return {**manifest, "status": {"allowed": asked["verb"] in self.rights[spec["user"]]}}

    def reviews(self, kind: str) -> list[Manifest]:
        return [each["spec"] for each in self.asked if each["kind"] == kind]


UNAVAILABLE = ApiError(0, "ClientConnectorError", "the API server cannot be reached")


@dataclass
class Served:
    """The list API, and a client of each user."""

    desk: Desk
    cluster: Cluster
    calls: Calls
    client: httpx.AsyncClient
    application: Any

    async def get(self, path: str = "", token: str = "token-of-alice", **query: str) -> Any:
        """Return the answer to a GET request below the letters of the policy."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return await self.client.get(f"{LETTERS}{path}", params=query, headers=headers)

    async def post(self, body: Any, token: str = "token-of-alice") -> Any:
        """Return the answer to a dry run."""
        headers = {"Authorization": f"Bearer {token}"}
        return await self.client.post(f"{LETTERS}/dry-run", json=body, headers=headers)


def served(
    *letters: Letter,
    index: Any = None,
    within: float = 30.0,
    uptime: Callable[[], float] = time.monotonic,
) -> Served:
    """Return a list API with letters. Alice may list and get, and Bob may read payloads too."""
    desk, cluster, calls = Desk(index or MemoryIndex(letters)), Cluster(), Calls()
    cluster.add("alice", "list", "get")
    cluster.add("bob", "list", "get", "payload")
    cluster.add("carol", "list")
    access = Access(cluster)
    application = app(
        desk, access, desk.payload_read, calls, now=lambda: NOW, within=within, uptime=uptime
    )
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(application), base_url="https://troth-review:8443"
    )
    return Served(desk, cluster, calls, client, application)


def payload_of(answer: Any) -> bytes:
    return payload_of_document(answer.json())


def payload_of_document(document: Manifest) -> bytes:
    return base64.b64decode(document["data"])
