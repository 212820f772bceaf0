"""Outages of the operator, the API server and the issuer, during which tokens stay valid."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox import faults
from sandbox.faults import FaultyPath
from tests.cluster.person import until
from tests.cluster.stage import Stage
from tests.cluster.tokens.shop import CHARGE, Shop, opened
from tests.issuer.running import claims
from troth.edge.outbound.failures import TokenUnavailableError

LIFETIME = 10
UNAVAILABLE = faults.status(503, "ServiceUnavailable")


@pytest.fixture
async def shop(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    async with opened(stage, tmp_path / "shop", monkeypatch) as started:
        yield started


@pytest.mark.long
async def test_tokens_are_issued_without_the_operator_and_revoked_by_the_next(
    shop: Shop,
) -> None:
    payments, checkout = await shop.agreed()
    issuer = await shop.issuer()
    files = await shop.node.identity(checkout)
    await asyncio.to_thread(shop.operator.kill)
    async with issuer.caller(files.current.tls_crt) as caller:
        audience = shop.workload(payments)
        assert (await caller.ask(audience))["scope"] == CHARGE
        await asyncio.to_thread(issuer.kill)  # nor does an issuer that starts now need an operator
    issuer = await shop.issuer()
    async with issuer.caller(files.current.tls_crt) as caller:
        assert (await caller.ask(audience))["scope"] == CHARGE
        await shop.payments(accepted=False)
        assert (await caller.ask(audience))["scope"] == CHARGE
        await shop.another_operator()
        refused = await until(lambda: caller.ask(audience), lambda answer: "error" in answer)
        assert refused["error"] == "invalid_target"


async def test_without_the_api_server_only_certificate_holders_get_tokens(
    shop: Shop, tmp_path: Path
) -> None:
    payments, checkout = await shop.agreed(proofOfPossession="Optional")
    kubectl = shop.stage.sandbox.kubectl
    kubectl("create", "serviceaccount", "checkout", "-n", shop.stage.shop)
    place = ("checkout", "-n", shop.stage.shop, "--audience", shop.url)
    audience = shop.workload(payments)
    async with FaultyPath(shop.kubeconfig, tmp_path / "proxy") as path:
        issuer = await shop.issuer(path.kubeconfig)
        files = await shop.node.identity(checkout)
        async with issuer.caller(files.current.tls_crt) as shown, issuer.caller() as anybody:

            async def accounted() -> dict[str, object]:
                # a new token each time: the issuer may cache a review briefly
                token = await asyncio.to_thread(kubectl, "create", "token", *place)
                return await anybody.exchange(token.strip(), audience)

            assert (await accounted())["scope"] == CHARGE
            for verb, resource in (("POST", "tokenreviews"), ("WATCH", "secrets")):
                path.always(verb, resource, UNAVAILABLE)
            path.always("GET", "secrets", UNAVAILABLE)
            assert path.cut("secrets")
            for _ in range(3):
                assert (await shown.ask(audience))["scope"] == CHARGE
                assert (await accounted())["error"] == "temporarily_unavailable"
            assert await issuer.health("readyz") == "ok\n"
            path.well()
            answer = await until(accounted, lambda seen: "error" not in seen)
            assert answer["scope"] == CHARGE


async def test_without_the_issuer_a_token_is_used_until_it_expires(
    shop: Shop,
) -> None:
    payments, checkout = await shop.agreed(lifetime=f"{LIFETIME}s")
    issuer = await shop.issuer()
    async with shop.served(payments) as service, shop.calling(checkout, service) as client:
        assert (await client.get("/")).status_code == 200
        await asyncio.to_thread(issuer.kill)
        (token,) = service.presented
        ends = claims(token)["exp"]

        async def called() -> TokenUnavailableError | int:
            try:
                return (await client.get("/")).status_code
            except TokenUnavailableError as error:
                return error

        error = await until(called, lambda seen: seen != 200)
        assert isinstance(error, TokenUnavailableError)
        assert time.time() > ends - 1
        assert set(service.presented) == {token}
        assert error.issuer == shop.url
        assert error.audience == shop.workload(payments)
        assert error.code == "unreachable"
        assert str(error).startswith(f"No token for {error.audience} from the issuer {shop.url}")

        await shop.issuer()
        assert await until(called, lambda seen: seen == 200) == 200
