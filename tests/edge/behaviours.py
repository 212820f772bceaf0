"""Behaviour that every client library shares, over real mTLS with the real issuer."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.edge.carriers import Carrier, impatient
from tests.edge.loopback import ReceivedRequest, Reply, serving
from tests.edge.shop import (
    AUDIT,
    DOMAIN,
    INVALID,
    LEDGER,
    LIFETIME,
    Shop,
    opened,
    server_context,
    together,
    until,
)
from tests.patience import PATIENCE
from tests.pki import builders as pki
from troth.edge.inbound.caller import CALLER, Caller
from troth.edge.outbound.failures import (
    RedirectRefusedError,
    TokenRefusedError,
    TokenUnavailableError,
    UnknownCalleeError,
)
from troth.edge.outbound.transactions import using
from troth.edge.trace_context import TraceContext

TRACE = TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "congo=t61rcWkgMzE")


class Behaviour:
    """Everything is asked of `carrier`, a client of payments."""

    kind: ClassVar[Any]

    @pytest.fixture
    def shop(self, tmp_path: Path) -> Iterator[Shop]:
        with opened(tmp_path) as shop:
            yield shop

    @pytest.fixture
    def carrier(self, shop: Shop) -> Iterator[Carrier]:
        with self.carrying(shop) as carrier:
            yield carrier

    @contextmanager
    def carrying(self, shop: Shop, **options: Any) -> Iterator[Carrier]:
        carrier = self.kind(shop, **options)
        try:
            yield carrier
        finally:
            carrier.close()

    # Certificates and tokens

    def test_call_presents_certificate_and_bound_token(self, shop: Shop, carrier: Carrier) -> None:
        answer = carrier.send(shop.ledger.url)
        assert (answer.status, json.loads(answer.body)) == (200, {"scopes": ["ledger.post"]})
        assert shop.fetches[0].thumbprint == shop.ledger.seen[0].thumbprint is not None

    def test_callee_with_mtls_gets_no_token(self, shop: Shop, carrier: Carrier) -> None:
        assert carrier.send(shop.audit.url).status == 200
        assert shop.audit.seen[0].thumbprint is not None
        assert "Authorization" not in shop.audit.seen[0].headers
        assert not shop.fetches

    def test_concurrent_requests_make_one_fetch(self, shop: Shop, carrier: Carrier) -> None:
        answers = together(20, lambda: carrier.send(shop.ledger.url).status)
        assert answers == [200] * 20
        assert len(shop.fetches) == 1

    def test_token_in_use_is_renewed_at_two_thirds_of_its_lifetime(
        self, shop: Shop, carrier: Carrier
    ) -> None:
        carrier.send(shop.ledger.url)
        shop.clock.pass_(LIFETIME * 2 / 3 - 1)
        carrier.send(shop.ledger.url)
        assert len(shop.fetches) == 1
        shop.clock.pass_(1)
        together(5, lambda: carrier.send(shop.ledger.url))
        until(lambda: len(shop.fetches) == 2)
        until(lambda: carrier.send(shop.ledger.url) and _tokens(shop.ledger.seen) == 2)
        assert len(shop.fetches) == 2

    def test_request_does_not_wait_for_a_renewal(self, shop: Shop, carrier: Carrier) -> None:
        carrier.send(shop.ledger.url)
        shop.clock.pass_(LIFETIME * 2 / 3)
        shop.way.block()
        assert carrier.send(shop.ledger.url).status == 200
        assert not carrier.calls.cache._away

    # The issuer is away

    def test_tokens_are_used_until_they_expire_while_the_issuer_is_away(
        self, shop: Shop, carrier: Carrier
    ) -> None:
        carrier.send(shop.ledger.url)
        shop.way.close()
        shop.clock.pass_(LIFETIME - 1)
        assert carrier.send(shop.ledger.url).status == 200
        until(lambda: carrier.calls.cache._away)
        shop.clock.pass_(1)
        sent = len(shop.ledger.seen)
        with pytest.raises(TokenUnavailableError) as caught:
            carrier.send(shop.ledger.url)
        error = caught.value
        assert (error.issuer, error.audience, error.code) == (shop.way.url, LEDGER, "unreachable")
        assert abs(error.since.timestamp() - time.time()) < 30
        assert all(part in str(error) for part in (shop.way.url, LEDGER, "since"))
        assert len(shop.ledger.seen) == sent
        assert not isinstance(error, TokenRefusedError)

    def test_returning_issuer_is_asked_only_after_the_pause(
        self, shop: Shop, carrier: Carrier
    ) -> None:
        shop.way.close()
        with pytest.raises(TokenUnavailableError):
            carrier.send(shop.ledger.url)
        shop.way.open()
        for _ in range(3):
            with pytest.raises(TokenUnavailableError) as caught:
                carrier.send(shop.ledger.url)
            assert 0 < caught.value.retry_after <= 0.5
        assert shop.way.taken == 0
        shop.clock.pass_(0.5)
        assert carrier.send(shop.ledger.url).status == 200

    @pytest.mark.parametrize("cut", ["block", "partition"])
    def test_silent_issuer_delays_a_request_for_a_bounded_time(
        self, shop: Shop, carrier: Carrier, monkeypatch: pytest.MonkeyPatch, cut: str
    ) -> None:
        impatient(monkeypatch)
        getattr(shop.way, cut)()

        def fails() -> str:
            with pytest.raises(TokenUnavailableError) as caught:
                carrier.send(shop.ledger.url)
            return caught.value.code

        assert together(5, fails) == ["unreachable"] * 5
        assert not shop.ledger.seen

    def test_server_in_place_of_the_issuer_gets_nothing(
        self, shop: Shop, carrier: Carrier, tmp_path: Path
    ) -> None:
        with serving(lambda _: Reply(), server_context(tmp_path, AUDIT)) as impostor:
            shop.way.target = impostor.port
            with pytest.raises(TokenUnavailableError, match="sa/audit, not") as caught:
                carrier.send(shop.ledger.url)
            assert caught.value.code == "wrong-server"
            assert not impostor.seen

    def test_closed_edge_differs_from_an_unavailable_issuer(
        self, shop: Shop, carrier: Carrier
    ) -> None:
        shop.write(calls=[_call(token={"audience": "nobody", "scopes": []})])
        with pytest.raises(TokenRefusedError, match="no live edge") as caught:
            carrier.send(shop.ledger.url)
        assert caught.value.code == "invalid_target"

    # Rotation

    def test_certificate_and_token_are_new_after_a_rotation(
        self, shop: Shop, carrier: Carrier
    ) -> None:
        carrier.send(shop.ledger.url)
        shop.rotate()
        assert carrier.send(shop.ledger.url).status == 200
        before, after = shop.ledger.seen
        assert before.thumbprint != after.thumbprint
        assert before.token != after.token
        assert before.connection != after.connection

    def test_no_request_fails_while_certificates_rotate(self, shop: Shop, carrier: Carrier) -> None:
        done = threading.Event()
        statuses: list[int] = []

        def call() -> None:
            while not done.is_set():
                statuses.append(carrier.send(shop.ledger.url).status)

        def certificates() -> int:
            return len({seen.thumbprint for seen in list(shop.ledger.seen)})

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for rotation in range(6):
                until(lambda: certificates() > rotation)  # noqa: B023 - awaited at once
                shop.rotate()
            until(lambda: certificates() == 7)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert set(statuses) == {200}

    def test_request_in_flight_survives_the_rotation(self, shop: Shop, carrier: Carrier) -> None:
        respond, arrived, go = shop.ledger.respond, threading.Event(), threading.Event()

        def slowly(seen: ReceivedRequest) -> Reply:
            if seen.path == "/slow":
                arrived.set()
                go.wait(PATIENCE)
            return respond(seen)

        shop.ledger.respond = slowly
        statuses: list[int] = []
        thread = threading.Thread(
            target=lambda: statuses.append(carrier.send(f"{shop.ledger.url}/slow").status)
        )
        thread.start()
        arrived.wait(PATIENCE)
        for _ in range(3):
            shop.rotate()
            assert carrier.send(shop.ledger.url).status == 200
        go.set()
        thread.join()
        assert statuses == [200]

    def test_rotation_without_issuer_keeps_the_held_token(
        self, shop: Shop, carrier: Carrier
    ) -> None:
        carrier.send(shop.ledger.url)
        shop.way.close()
        shop.rotate()
        assert carrier.send(shop.ledger.url).status == 200
        first, second = shop.ledger.seen
        assert (first.token, first.thumbprint) == (second.token, second.thumbprint)
        shop.clock.pass_(LIFETIME)
        with pytest.raises(TokenUnavailableError):
            carrier.send(shop.ledger.url)
        shop.way.open()
        shop.clock.pass_(60)
        assert carrier.send(shop.ledger.url).status == 200
        assert shop.ledger.seen[-1].thumbprint != first.thumbprint

    def test_unlisted_callee_gets_nothing(self, shop: Shop, carrier: Carrier) -> None:
        carrier.send(shop.ledger.url)
        shop.write(calls=[])
        with pytest.raises(UnknownCalleeError, match="finance/ledger"):
            carrier.send(shop.ledger.url)
        assert len(shop.ledger.seen) == 1

    # Who is at the other end

    def test_server_with_another_identitys_certificate_gets_nothing(
        self, shop: Shop, carrier: Carrier, tmp_path: Path
    ) -> None:
        carrier.send(shop.ledger.url)
        shop.ledger.context = server_context(tmp_path, AUDIT)
        shop.rotate()  # so that a new connection is made
        with pytest.raises(carrier.errors, match=f"the server is {AUDIT}, not {LEDGER}"):
            carrier.send(shop.ledger.url)
        assert len(shop.ledger.seen) == 1

    def test_server_with_other_roots_gets_nothing(
        self, shop: Shop, carrier: Carrier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        foreign = pki.own_root(which="foreign")
        roots = tmp_path / "foreign.pem"
        roots.write_bytes(b"".join(foreign.authority.anchors))
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.setenv(name, str(roots))
        shop.ledger.context = server_context(tmp_path, LEDGER, authority=foreign)
        with pytest.raises(carrier.errors):
            carrier.send(shop.ledger.url)
        assert not shop.ledger.seen

    # Refused by the callee

    def test_token_that_the_callee_rejects_is_replaced_once(
        self, shop: Shop, carrier: Carrier
    ) -> None:
        shop.ledger.respond = _refusing(shop.ledger.respond, times=1)
        assert carrier.send(shop.ledger.url, "POST", body=b"entry").status == 200
        first, second = shop.ledger.seen
        assert first.token != second.token
        assert (first.body, second.body) == (b"entry", b"entry")
        assert len(shop.fetches) == 2

    def test_callee_that_rejects_every_token_is_not_retried_forever(
        self, shop: Shop, carrier: Carrier
    ) -> None:
        shop.ledger.respond = _refusing(shop.ledger.respond, times=99)
        assert carrier.send(shop.ledger.url).status == 401
        assert (len(shop.ledger.seen), len(shop.fetches)) == (2, 2)
        assert carrier.send(shop.ledger.url).status == 401
        assert (len(shop.ledger.seen), len(shop.fetches)) == (3, 2)

    def test_one_time_body_is_not_sent_again(self, shop: Shop, carrier: Carrier) -> None:
        shop.ledger.respond = _refusing(shop.ledger.respond, times=1)
        body = iter([b"entry"])
        answer = carrier.send(shop.ledger.url, "POST", body=body, headers={"Content-Length": "5"})
        assert answer.status == 401
        assert len(shop.ledger.seen) == 1

    @pytest.mark.parametrize(
        "challenge", ["Bearer", 'Bearer error="insufficient_scope"', 'Basic error="invalid_token"']
    )
    def test_other_401_is_returned(self, shop: Shop, carrier: Carrier, challenge: str) -> None:
        shop.ledger.respond = lambda _: Reply(401, (("WWW-Authenticate", challenge),))
        assert carrier.send(shop.ledger.url).status == 401
        assert (len(shop.ledger.seen), len(shop.fetches)) == (1, 1)

    # Redirects and other addresses

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_redirect_to_another_address_carries_no_credentials(
        self, shop: Shop, carrier: Carrier, status: int
    ) -> None:
        _redirect(shop, shop.outside.url, status)
        with using(_transaction(carrier)):
            assert carrier.send(shop.ledger.url, follow=True).status == 200
        (seen,) = shop.outside.seen
        assert "Authorization" not in seen.headers
        assert "Txn-Token" not in seen.headers
        assert "traceparent" not in seen.headers

    def test_transaction_header_goes_only_to_callees(self, shop: Shop, carrier: Carrier) -> None:
        transaction = _transaction(carrier)
        given = {"txn-token": transaction.token}
        carrier.send(shop.ledger.url, headers=given)
        assert shop.ledger.seen[0].headers.get_all("Txn-Token") == [transaction.token]
        carrier.send(shop.outside.url, headers=given)
        _redirect(shop, shop.outside.url)
        carrier.send(shop.ledger.url, headers=given, follow=True)
        assert ["Txn-Token" in seen.headers for seen in shop.outside.seen] == [False, False]

    def test_redirect_within_the_callee_keeps_credentials(
        self, shop: Shop, carrier: Carrier
    ) -> None:
        respond = shop.ledger.respond

        def moved(seen: ReceivedRequest) -> Reply:
            if seen.path == "/old":
                return Reply(307, (("Location", "/new"),))
            return respond(seen)

        shop.ledger.respond = moved
        assert carrier.send(f"{shop.ledger.url}/old", follow=True).status == 200

    def test_redirect_between_callees_is_rejected(self, shop: Shop, carrier: Carrier) -> None:
        _redirect(shop, shop.audit.url)
        with pytest.raises(RedirectRefusedError, match="finance/audit"):
            carrier.send(shop.ledger.url, follow=True)
        assert not shop.audit.seen

    # Transactions and traces

    def test_transaction_is_started_and_forwarded_unmodified(
        self, shop: Shop, carrier: Carrier
    ) -> None:
        transaction = _transaction(carrier)
        with using(transaction):
            carrier.send(shop.ledger.url)
            carrier.send(shop.audit.url)
        carrier.send(shop.audit.url)
        tokens = [seen.headers.get_all("Txn-Token") for seen in shop.ledger.seen + shop.audit.seen]
        assert tokens == [[transaction.token], [transaction.token], None]

    def test_transaction_is_narrowed_by_the_issuer(self, carrier: Carrier) -> None:
        transaction = _transaction(carrier)
        assert transaction.scopes == {"orders.place", "orders.view"}
        with using(transaction):
            narrower = carrier.narrow(scopes=["orders.view"])
        assert narrower.scopes == {"orders.view"}
        assert narrower.token != transaction.token
        with pytest.raises(TokenRefusedError, match="invalid_scope"):
            carrier.narrow(scopes=["orders.place"], transaction=narrower)

    def test_no_transaction_starts_while_the_issuer_is_away(
        self, shop: Shop, carrier: Carrier
    ) -> None:
        shop.way.close()
        for _ in range(2):
            with pytest.raises(TokenUnavailableError) as caught:
                _transaction(carrier)
            assert caught.value.audience == DOMAIN
        shop.way.open()
        shop.clock.pass_(1)
        assert _transaction(carrier)

    def test_transaction_of_the_served_request_is_forwarded(
        self, shop: Shop, carrier: Carrier
    ) -> None:
        transaction = _verified(shop, carrier)
        reset = CALLER.set(Caller("spiffe://x/y", frozenset(), transaction, None, TRACE))
        try:
            carrier.send(shop.ledger.url)
            carrier.send(shop.outside.url)
            carrier.send(shop.audit.url, headers={"traceparent": "the program's own"})
        finally:
            CALLER.reset(reset)
        ledger, audit, outside = (
            server.seen[0].headers for server in (shop.ledger, shop.audit, shop.outside)
        )
        assert ledger["Txn-Token"] == transaction.token
        assert {name: ledger[name] for name in TRACE.headers} == TRACE.headers
        assert audit["traceparent"] == "the program's own"
        assert audit["tracestate"] is None
        assert not {"Txn-Token", "traceparent", "tracestate", "Authorization"} & set(outside)

    # By ServiceAccount

    def test_workload_may_authenticate_with_its_service_account(
        self, shop: Shop, tmp_path: Path
    ) -> None:
        token = tmp_path / "token"
        token.write_text("account-token\n")
        with self.carrying(shop, account_token=token) as carrier:
            assert carrier.send(shop.ledger.url).status == 200
            shop.rotate()
            assert carrier.send(shop.ledger.url).status == 200
        assert shop.accounts.asked == [("account-token", shop.way.url)]
        assert shop.fetches[0].peer is None
        assert len({seen.token for seen in shop.ledger.seen}) == 1

    def test_nothing_is_sent_without_the_service_account_token(
        self, shop: Shop, tmp_path: Path
    ) -> None:
        with (
            self.carrying(shop, account_token=tmp_path / "missing") as carrier,
            pytest.raises(TokenUnavailableError) as caught,
        ):
            carrier.send(shop.ledger.url)
        assert caught.value.code == "account-token"


def _call(**changes: Any) -> dict[str, Any]:
    return {"name": "finance/ledger", "spiffeID": LEDGER, "ports": ["https"]} | changes


def _tokens(seen: list[ReceivedRequest]) -> int:
    return len({each.token for each in seen})


def _transaction(carrier: Carrier) -> Any:
    return carrier.start(
        subject="user-1",
        scopes=["orders.place", "orders.view"],
        tenant="acme",
        context={"channel": "web"},
    )


def _verified(shop: Shop, carrier: Carrier) -> Any:
    from troth.pki.tokens.checks import verify_transaction_token

    return verify_transaction_token(
        _transaction(carrier).token,
        bundle=shop.identity().current.bundles[DOMAIN],
        issuer=shop.way.url,
        now=time.time(),
    )


def _refusing(respond: Any, times: int) -> Any:
    left = [times]

    def refuse(seen: ReceivedRequest) -> Reply:
        left[0] -= 1
        return respond(seen) if left[0] < 0 else Reply(401, (INVALID,))

    return refuse


def _redirect(shop: Shop, target: str, status: int = 307) -> None:
    shop.ledger.respond = lambda _: Reply(status, (("Location", f"{target}/elsewhere"),))
