"""What is tried with tokens, what must become of it, and whether it did."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import httpx

from sandbox.demo.cast import CHECKOUT, FULFILMENT, LEDGER, PAYMENTS
from sandbox.demo.chain import Chain
from sandbox.demo.errors import DemoError
from sandbox.demo.forging import LIFETIME, signed, unsigned
from sandbox.demo.names import LOOPBACK
from sandbox.demo.posing import SECONDS, Answered, Poser, answered
from sandbox.demo.shop import Place

USER, TENANT, OTHER_TENANT = "alice", "acme", "globex"
SESSION = "a-session-of-alice"
PATHS = {PAYMENTS: "/charge", LEDGER: "/entries"}
AGE = timedelta(minutes=5)
"""By how much a token comes too late or too early."""

STARTED = ("ledger.post", "orders.place", "payments.charge")
"""What the transaction is for that checkout begins for an order."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One call of the order's, and what its callee must be told of it.

    `scopes` are those of the caller's token, `transaction` what the transaction is for.
    """

    caller: Place
    callee: Place
    scopes: tuple[str, ...]
    transaction: tuple[str, ...]


HOPS = (
    Hop(CHECKOUT, PAYMENTS, ("payments.charge",), STARTED),
    Hop(PAYMENTS, LEDGER, ("ledger.post",), ("ledger.post",)),
)


@dataclass(frozen=True, slots=True)
class Passed:
    """A hop and what its callee was told; if that is wrong, `expected` says what had to be."""

    hop: Hop
    told: Mapping[str, Any]
    expected: str = ""

    @property
    def is_wrong(self) -> bool:
        """Whether the callee was told anything else."""
        return bool(self.expected)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A request with what somebody could write or steal; `code` is that of the refusal.

    Without a code it must be answered, and nothing of it believed but the tokens.
    """

    caller: Place
    callee: Place
    about: str
    headers: Mapping[str, str] = field(repr=False)
    code: str = ""

    @property
    def status(self) -> int:
        """The status it must have: 401 where another token would help."""
        if not self.code:
            return HTTPStatus.OK
        needs_token = self.code.startswith("token-")
        return HTTPStatus.UNAUTHORIZED if needs_token else HTTPStatus.FORBIDDEN


@dataclass(frozen=True, slots=True)
class Tried:
    """An attempt and what became of it."""

    attempt: Attempt
    answer: Answered

    @property
    def is_wrong(self) -> bool:
        """Whether anything else became of it than had to."""
        attempt, answer = self.attempt, self.answer
        if (answer.status, answer.code) != (attempt.status, attempt.code):
            return True
        return not attempt.code and not _believes_tokens_alone(answer.told)


def order(chain: Chain) -> list[Passed]:
    """Have a user, who is logged in, place an order at checkout; return what every callee was told.

    Raises `DemoError` if the order is refused.
    """
    url = f"http://{LOOPBACK}:{chain.services[CHECKOUT]}/orders"
    with answered("checkout"), httpx.Client(trust_env=False, timeout=SECONDS) as public:
        answer = public.post(url, headers={"Cookie": f"session={SESSION}"})
    if answer.status_code != HTTPStatus.OK:
        raise DemoError(f"the order was answered with {answer.status_code}: {answer.text}")
    told: list[dict[str, Any]] = answer.json()
    return judged(chain, told)


def judged(chain: Chain, told: list[dict[str, Any]]) -> list[Passed]:
    """Judge what the callees of an order were told, in their order."""
    if len(told) != len(HOPS):
        raise DemoError(f"the order went through {len(told)} services, not {len(HOPS)}")
    request = told[0]["request"]
    passed = []
    for hop, each in zip(HOPS, told, strict=True):
        expected = {
            "caller": spiffe_id(chain, hop.caller),
            "scopes": list(hop.scopes),
            "subject": USER,
            "tenant": TENANT,
            "request": request,
            "transaction": list(hop.transaction),
        }
        right = request and all(each[name] == value for name, value in expected.items())
        passed.append(Passed(hop, each, "" if right else str(expected)))
    return passed


def spiffe_id(chain: Chain, place: Place) -> str:
    """Return the SPIFFE ID that somebody's files say."""
    return chain.files(place).identity().current.spiffe_id


def attempts(chain: Chain, keys: Mapping[str, bytes]) -> Iterator[Tried]:
    """Try what must be refused; `keys` is the data of the Secret with the domain's token keys."""
    posers = {
        place: Poser(chain.files(place), chain.issuer)
        for place in (CHECKOUT, PAYMENTS, LEDGER, FULFILMENT)
    }
    for attempt in _attempts(posers, keys):
        callee = attempt.callee
        answer = posers[attempt.caller].send(
            *("POST", PATHS[callee], attempt.headers),
            port=chain.services[callee],
            callee=posers[callee].spiffe_id,
        )
        yield Tried(attempt, answer)


def _attempts(posers: Mapping[Place, Poser], keys: Mapping[str, bytes]) -> Iterator[Attempt]:
    checkout, payments, ledger = (posers[place] for place in (CHECKOUT, PAYMENTS, LEDGER))
    token = checkout.token(payments.spiffe_id)
    begun = {"Txn-Token": checkout.transaction(USER, TENANT, STARTED)}
    good = _bearer(token) | begun
    forwarded = f"Hash={'0' * 64};URI={checkout.spiffe_id}"
    yield Attempt(
        *(FULFILMENT, PAYMENTS, "checkout's tokens and X-Forwarded-Client-Cert"),
        good | {"X-Forwarded-Client-Cert": forwarded},
        "caller-not-accepted",
    )
    yield Attempt(
        *(CHECKOUT, PAYMENTS, "X-User and X-Tenant, no Txn-Token"),
        _bearer(token) | {"X-User": USER, "X-Tenant": TENANT},
        "transaction-missing",
    )
    yield Attempt(
        *(CHECKOUT, PAYMENTS, f"Txn-Token, and X-Tenant: {OTHER_TENANT}"),
        good | {"X-Tenant": OTHER_TENANT},
    )
    late = signed(keys, checkout, payments.spiffe_id, -AGE - LIFETIME)
    early = signed(keys, checkout, payments.spiffe_id, AGE)
    minutes = f"{AGE.total_seconds() / 60:.0f} minutes"
    for about, bad, code in (
        ("its token for the ledger", checkout.token(ledger.spiffe_id), "token-audience"),
        ("its token, unsigned, with alg=none", unsigned(token), "token-algorithm"),
        (f"a token that expired {minutes} ago", late, "token-expired"),
        (f"a token that begins in {minutes}", early, "token-not-yet-valid"),
    ):
        yield Attempt(CHECKOUT, PAYMENTS, about, _bearer(bad) | begun, code)
    stolen = _bearer(payments.token(ledger.spiffe_id))
    yield Attempt(CHECKOUT, LEDGER, "a token stolen from payments", stolen | begun, "token-holder")


def _believes_tokens_alone(told: Mapping[str, Any]) -> bool:
    seen = [name for name in told["headers"] if name.startswith("x-")]
    return not seen and (told["subject"], told["tenant"]) == (USER, TENANT)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
