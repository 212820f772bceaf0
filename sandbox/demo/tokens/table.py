"""The trials of tokens: an order through three services, attacks, and a revoked edge."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

import httpx

from sandbox.demo.cast import CHECKOUT, FULFILMENT, LEDGER, PAYMENTS, between
from sandbox.demo.errors import DemoError
from sandbox.demo.loopback import LOOPBACK
from sandbox.demo.screen import REJECTED
from sandbox.demo.shop import Place
from sandbox.demo.tokens.client import SECONDS, Client, Response, answering
from sandbox.demo.tokens.forgery import LIFETIME, signed, unsigned
from sandbox.demo.tokens.services import SERVICES, Services
from sandbox.demo.trials import Observation, Result, Trial, over
from troth.edge.outbound.exchange import ExchangeFailedError

USER, TENANT, OTHER_TENANT = "alice", "acme", "globex"
SESSION = "a-session-of-alice"
PATHS = {PAYMENTS: "/charge", LEDGER: "/entries"}
AGE = timedelta(minutes=5)
"""How far a token's times lie in the past or the future."""
WITHIN = 5.0
"""Seconds after which the issuer must reject, and the callee too: it reads its files again."""
PATIENCE = 15.0
STARTED = ("ledger.post", "orders.place", "payments.charge")
"""The scopes of the transaction that checkout starts for an order."""
HOPS = (
    (CHECKOUT, PAYMENTS, ("payments.charge",), STARTED),
    (PAYMENTS, LEDGER, ("ledger.post",), ("ledger.post",)),
)
"""The calls of an order: caller, callee, scopes of the token, scopes of the transaction."""

Clients = Mapping[Place, Client]


def clients(services: Services) -> Clients:
    """Return a client for each identity that takes part."""
    return {
        place: Client(services.files(place), services.issuer) for place in (*SERVICES, FULFILMENT)
    }


def place_order(services: Services) -> list[dict[str, Any]]:
    """Have a user who is logged in order at checkout; return what each callee knows of its request.

    Raises `DemoError` if the order is rejected or does not pass through all services.
    """
    url = f"http://{LOOPBACK}:{services.ports[CHECKOUT]}/orders"
    with answering("checkout"), httpx.Client(trust_env=False, timeout=SECONDS) as public:
        answer = public.post(url, headers={"Cookie": f"session={SESSION}"})
    if answer.status_code != HTTPStatus.OK:
        raise DemoError(f"checkout answered the order with {answer.status_code}: {answer.text}")
    known: list[dict[str, Any]] = answer.json()
    return known


def order(known: list[dict[str, Any]], spiffe_ids: Mapping[Place, str]) -> Iterator[Result]:
    """Yield the calls of an order; `known` is what each callee knows of its request."""
    if len(known) != len(HOPS):
        raise DemoError(f"the order passed through {len(known)} services, not {len(HOPS)}")
    request = known[0]["request"] or "a request ID"
    for (caller, callee, scopes, transaction), each in zip(HOPS, known, strict=True):
        expected = {
            "caller": spiffe_ids[caller],
            "scopes": list(scopes),
            "subject": USER,
            "tenant": TENANT,
            "request": request,
            "transaction": list(transaction),
        }
        cells = (f"{each['subject']}, {each['tenant']}", " ".join(each["transaction"]))
        seen = Observation(each, cells)
        yield over(between(caller, callee), " ".join(scopes), seen, **expected)


def attacks(services: Services, who: Clients, keys: Mapping[str, bytes]) -> Iterator[Trial]:
    """Yield forged headers and tokens; `keys` is the data of the Secret with the issuer's keys."""
    checkout, payments, ledger = (who[place] for place in SERVICES)
    token = checkout.token(payments.spiffe_id)
    transaction = {"Txn-Token": checkout.transaction(USER, TENANT, STARTED)}
    valid = _bearer(token) | transaction

    def attack(caller: Place, callee: Place, about: str, sent: dict[str, str], code: str) -> Trial:
        def attempt() -> Observation:
            port, callee_id = services.ports[callee], who[callee].spiffe_id
            return attack_observation(
                who[caller].send("POST", PATHS[callee], sent, port=port, callee=callee_id)
            )

        return Trial(between(caller, callee), about, expected(code), attempt)

    yield attack(
        *(FULFILMENT, PAYMENTS, "checkout's tokens and X-Forwarded-Client-Cert"),
        valid | {"X-Forwarded-Client-Cert": f"Hash={'0' * 64};URI={checkout.spiffe_id}"},
        "caller-not-accepted",
    )
    yield attack(
        *(CHECKOUT, PAYMENTS, "X-User and X-Tenant, no Txn-Token"),
        _bearer(token) | {"X-User": USER, "X-Tenant": TENANT},
        "transaction-missing",
    )
    yield attack(
        *(CHECKOUT, PAYMENTS, f"Txn-Token, and X-Tenant: {OTHER_TENANT}"),
        *(valid | {"X-Tenant": OTHER_TENANT}, ""),
    )
    minutes = f"{AGE.total_seconds() / 60:.0f} minutes"
    for about, forged, code in (
        ("a token for ledger", checkout.token(ledger.spiffe_id), "token-audience"),
        ("its token, unsigned, with alg=none", unsigned(token), "token-algorithm"),
        (
            f"a token that expired {minutes} ago",
            signed(keys, checkout, payments.spiffe_id, -AGE - LIFETIME),
            "token-expired",
        ),
        (
            f"a token that is valid in {minutes}",
            signed(keys, checkout, payments.spiffe_id, AGE),
            "token-not-yet-valid",
        ),
    ):
        yield attack(CHECKOUT, PAYMENTS, about, _bearer(forged) | transaction, code)
    stolen = _bearer(payments.token(ledger.spiffe_id)) | transaction
    yield attack(CHECKOUT, LEDGER, "a token stolen from payments", stolen, "token-holder")


def expected(code: str) -> dict[str, object]:
    """Return the answer to an attack: 401 where another token would help, otherwise 403.

    Without a code the request is accepted, and the service believes the tokens alone.
    """
    if not code:
        believed = {"subject": USER, "tenant": TENANT, "x-headers": []}
        return {"status": HTTPStatus.OK, "code": "", **believed}
    needs_token = code.startswith("token-")
    status = HTTPStatus.UNAUTHORIZED if needs_token else HTTPStatus.FORBIDDEN
    return {"status": status, "code": code}


def revoked(services: Services, who: Clients) -> list[Trial]:
    """Return what checkout tries after ledger stops to accept it.

    Raises `DemoError` if ledger rejects checkout before.
    """
    checkout, ledger = who[CHECKOUT], who[LEDGER]
    headers = _bearer(checkout.token(ledger.spiffe_id))
    headers |= {"Txn-Token": checkout.transaction(USER, TENANT, STARTED)}

    def request_token() -> Observation:
        try:
            checkout.token(ledger.spiffe_id)
        except ExchangeFailedError as error:
            answer = str(error).removeprefix("it answered ")
            return Observation({"error": error.code}, (REJECTED,), answer)
        return Observation({"error": ""}, ("issued",))

    def call() -> Response:
        port = services.ports[LEDGER]
        return checkout.send("GET", PATHS[LEDGER], headers, port=port, callee=ledger.spiffe_id)

    if code := call().code:
        raise DemoError(f"{LEDGER} rejects {CHECKOUT} before the edge is revoked: {code}")
    return [
        Trial(
            "checkout → issuer",
            "requests a token for ledger",
            {"error": "invalid_target"},
            request_token,
            WITHIN,
        ),
        Trial(
            between(CHECKOUT, LEDGER),
            "sends a token from before",
            expected("caller-not-accepted"),
            lambda: call().observation(),
            PATIENCE,
        ),
    ]


def attack_observation(answer: Response) -> Observation:
    """Return the observation of an attack, with the x-headers that reach the service."""
    if answer.code:
        return answer.observation()
    known = answer.content
    quote = (
        f"The service sees {known.get('subject')} of {known.get('tenant')}, from the transaction; "
        "the header is removed."
    )
    seen = answer.observation(quote)
    sent = [name for name in known.get("headers", ()) if name.startswith("x-")]
    return seen._replace(facts={**seen.facts, "x-headers": sent})


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
