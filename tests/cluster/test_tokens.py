"""Tokens from end to end: declared, issued, bound, presented, verified and revoked.

Every part is real: see `tests.cluster.tokens.shop`.
"""

import shutil
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests import builders
from tests.builders import stamp
from tests.cluster.person import until
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from tests.cluster.tokens.shop import ADMIN, CHARGE, REFUND, Service, Shop, opened
from tests.issuer.running import claims
from troth.edge.outbound.failures import TokenRefusedError, UnknownCalleeError
from troth.resources.references import Ref

NOTHING: Counter[str] = Counter()
MOMENT = timedelta(seconds=2)


@pytest.fixture
async def shop(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Shop]:
    async with opened(stage, tmp_path / "shop", monkeypatch) as started:
        yield started


async def test_new_domain_grants_a_caller_what_both_sides_declare(shop: Shop) -> None:
    payments, checkout = await shop.agreed()
    await shop.person.hears(DOMAIN, shop.domain, "TokensReady", "Active", "True")
    await shop.issuer()
    async with shop.served(payments) as service, shop.calling(checkout, service) as client:
        answer = await client.get("/")
        assert answer.status_code == 200, answer.text
        assert answer.json() == {"workload": shop.workload(checkout), "scopes": [CHARGE]}
        await client.get("/")
    first, second = map(claims, service.presented)
    assert first == second, "a token is used for as long as it is good"
    assert first["iss"] == shop.url
    assert first["aud"] == [shop.workload(payments)]
    assert first["scope"] == CHARGE
    assert first["exp"] - first["iat"] == 300


# Costs


async def test_tokens_cost_a_domain_four_writes_and_a_new_identity_one(stage: Stage) -> None:
    """In addition to the three of a new identity: its entry in the issuer configuration."""
    plain = await written_for_a_domain(stage, "-plain")
    issuing = await written_for_a_domain(stage, "-issuing", tokens={})
    more = issuing - plain
    assert more.pop("trustdomains", 0) <= 1, "the status may tell of a step in between"
    # the key, the bundle and the issuer configuration in one Secret, and the issuer's certificate
    assert more == Counter({"secrets": 4})

    stage.requests.clear()
    ref = await stage.identity(
        "payments", stage.namespaces[-1], ports=["https"], authentication={"token": {}}
    )
    await stage.person.ready(IDENTITY, ref)
    await compiled(stage)
    assert stage.requests.reads == NOTHING
    new = Counter({"secrets": 1, "networkpolicies": 1, "serviceidentities": 1})
    assert stage.requests.writes == new + Counter({"secrets": 1})
    assert stage.requests.events == 0


async def written_for_a_domain(stage: Stage, name: str, **spec: object) -> Counter[str]:
    """Declare a domain with a namespace; return the writes until it has settled."""
    label = f"{stage.name}{name}"
    await stage.namespace(label)
    if not stage.copies:
        await stage.run()
    await stage.settled()
    stage.requests.clear()
    selector = {"matchLabels": {"domain": label}}
    named = {"domain": f"{label}.example", "namespaceSelector": selector}
    domain = await stage.domain(name, **named, **spec)
    await stage.person.ready(DOMAIN, domain)
    await compiled(stage)
    return stage.requests.writes


async def compiled(stage: Stage) -> None:
    """Wait until the issuer configuration, written at most once a second, is up to date."""
    await stage.settled()
    await stage.later(MOMENT)
    await stage.settled()


async def test_unchanged_state_and_a_restart_cost_nothing(stage: Stage) -> None:
    await stage.domain(tokens={})
    await stage.run()
    await stage.identity(
        "payments",
        ports=["https"],
        accepts=[builders.accept("web", scopes=[CHARGE])],
        authentication={"token": {}},
    )
    await stage.identity("web", calls=[builders.call("payments", scopes=[CHARGE])])
    for name in ("payments", "web"):
        await stage.person.ready(IDENTITY, Ref(stage.shop, name))
    await stage.person.ready(DOMAIN, Ref("", stage.name))
    await compiled(stage)
    stage.requests.clear()
    await stage.look_again()
    await compiled(stage)
    assert stage.requests.made == []

    before = {**await stage.written(), **await own_secrets(stage)}
    await stage.operator.stop()
    await stage.run()
    await compiled(stage)
    assert stage.requests.writes == NOTHING
    assert stage.requests.events == 0
    assert {**await stage.written(), **await own_secrets(stage)} == before


async def own_secrets(stage: Stage) -> dict[tuple[str, str, str], str]:
    return {
        ("Secret", stage.own, each["metadata"]["name"]): each["metadata"]["resourceVersion"]
        for each in await stage.person.all("Secret", stage.own)
    }


# Revocation


async def refusal(client: httpx.AsyncClient) -> TokenRefusedError | UnknownCalleeError | None:
    """Call with the client's current token; return why it was not sent, or None."""
    try:
        await client.get("/")
    except (TokenRefusedError, UnknownCalleeError) as error:
        return error
    return None


async def test_revoked_scope_gets_no_new_token(shop: Shop) -> None:
    payments, checkout = await shop.agreed()
    issuer = await shop.issuer()
    files = await shop.node.identity(checkout)
    async with issuer.caller(files.current.tls_crt) as caller:

        async def scope() -> str:
            answer = await caller.ask(shop.workload(payments))
            return str(answer.get("scope", answer.get("error")))

        assert await scope() == CHARGE
        await takes_hold(lambda: shop.checkout(CHARGE, REFUND), scope, f"{CHARGE} {REFUND}")
        await takes_hold(lambda: shop.payments(REFUND), scope, REFUND)
        await takes_hold(lambda: shop.checkout(ADMIN), scope, "")
        await takes_hold(lambda: shop.payments(accepted=False), scope, "invalid_target")


async def takes_hold(
    declare: Callable[[], Awaitable[Ref]], look: Callable[[], Awaitable[str]], outcome: str
) -> None:
    """Apply a declaration and wait until it takes effect."""
    await declare()
    await until(look, lambda seen: seen == outcome)


async def test_revoked_caller_is_rejected_although_its_token_is_valid(
    shop: Shop,
) -> None:
    """Its token is valid for minutes; the callee rejects it once its own files are updated."""
    payments, checkout = await shop.agreed()
    await shop.issuer()
    async with shop.served(payments) as service, shop.calling(checkout, service) as client:
        assert (await client.get("/")).status_code == 200
        (token,) = service.presented
        await shop.payments(accepted=False)
        files = await shop.node.identity(checkout)

        async def status() -> int:
            return (await presenting(files.current.tls_crt, service, token)).status_code

        assert await until(status, lambda code: code != 200) == 403
        assert isinstance(await until(lambda: refusal(client), bool), UnknownCalleeError)


async def presenting(certificate: Path | None, service: Service, token: str) -> httpx.Response:
    """Call with a certificate and a token that need not belong together."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(verify=context) as client:
        return await client.get(service.url, headers=headers)


# Between trust domains


async def test_token_is_accepted_in_a_federated_domain_and_in_no_other(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bank = await stage.namespace(f"{stage.name}-bank")
    named = {"name": f"{stage.name}-bank"}
    async with opened(
        stage, tmp_path / "shop", monkeypatch, federatesWith=[named], namespaces=[bank]
    ) as shop:
        await stage.domain(
            "-bank",
            domain=f"{stage.name}.bank",
            environment=stage.name,
            namespaceSelector={"matchLabels": {"domain": f"{stage.name}-bank"}},
            federatesWith=[{"name": stage.name}],
            tokens={},
        )
        await shop.service("ledger", bank)
        ledger = await stage.identity(
            "ledger",
            bank,
            ports=["https"],
            accepts=[builders.accept("checkout", namespace=stage.shop, scopes=["ledger.post"])],
            authentication={"token": {}},
        )
        checkout = await stage.identity(
            "checkout",
            calls=[builders.call("ledger", namespace=bank, scopes=["ledger.post"])],
        )
        await shop.ready(ledger, checkout)
        await shop.issuer()
        async with shop.served(ledger) as service, shop.calling(checkout, service) as client:
            answer = await client.get("/")
            assert answer.json() == {"workload": shop.workload(checkout), "scopes": ["ledger.post"]}
            (token,) = service.presented
            assert claims(token)["aud"] == [f"spiffe://{stage.name}.bank/ns/{bank}/sa/ledger"]
            assert claims(token)["iss"] == shop.url

            files = await shop.node.identity(checkout)
            await stage.domain(federatesWith=[], tokens={})

            async def judged() -> str:
                try:
                    answer = await presenting(files.current.tls_crt, service, token)
                except (httpx.TransportError, ssl.SSLError):
                    return "handshake"  # its root is no longer trusted
                return str(answer.status_code)

            assert await until(judged, lambda seen: seen != "200") in ("handshake", "401", "403")
            found = await until(lambda: refusal(client), bool)
            assert isinstance(found, UnknownCalleeError)


# Without a certificate


@pytest.mark.long
async def test_service_account_token_is_exchanged_if_possession_is_optional(
    shop: Shop, tmp_path: Path
) -> None:
    payments, checkout = await shop.agreed(proofOfPossession="Optional")
    await shop.issuer()
    kubectl = shop.stage.sandbox.kubectl
    kubectl("create", "serviceaccount", "checkout", "-n", shop.stage.shop)
    place = ("checkout", "-n", shop.stage.shop, "--audience", shop.url)
    projected = tmp_path / "token"
    projected.write_text(kubectl("create", "token", *place))
    async with (
        shop.served(payments) as service,
        shop.calling(checkout, service, projected) as client,
    ):
        answer = await client.get("/")
        assert answer.json() == {"workload": shop.workload(checkout), "scopes": [CHARGE]}
        (token,) = service.presented
        assert "cnf" not in claims(token)
        anonymous = await presenting(None, service, token)
        assert anonymous.json() == answer.json()

        await shop.payments(CHARGE, REFUND)  # the default, Required

        async def unbound() -> httpx.Response:
            return await client.get("/")

        answer = await until(unbound, lambda seen: seen.status_code != 200)
        assert (answer.status_code, answer.json()["code"]) == (401, "token-unbound")
        anonymous = await presenting(None, service, token)
        assert (anonymous.status_code, anonymous.json()["code"]) == (403, "certificate-missing")


# Two certificates of one identity


async def test_token_is_accepted_only_with_its_own_certificate_in_a_rotation(
    shop: Shop, tmp_path: Path
) -> None:
    payments, checkout = await shop.agreed()
    issuer = await shop.issuer()
    audience = shop.workload(payments)
    async with shop.served(payments) as service, shop.calling(checkout, service) as client:
        files = await shop.node.identity(checkout)
        before = tmp_path / "before"
        shutil.copytree(files.current.tls_crt.parent, before)
        old = before / "tls.crt"
        thumbprint = files.current.certificate_thumbprint
        moment = stamp(datetime.now(UTC) + timedelta(seconds=1))
        rotation = builders.rotation(target="checkout", namespace=checkout.namespace)
        rotation["spec"]["requestedAt"] = moment

        async def called() -> str | None:
            assert (await client.get("/")).status_code == 200
            return files.current.certificate_thumbprint

        assert await called() == thumbprint
        await shop.person.put(rotation)
        await until(called, lambda seen: seen != thumbprint)
        assert (await client.get("/")).status_code == 200

        new = files.current.tls_crt
        tokens = {}
        for certificate in (old, new):
            async with issuer.caller(certificate) as caller:
                tokens[certificate] = (await caller.ask(audience))["access_token"]
        for certificate in (old, new):
            for whose in (old, new):
                answer = await presenting(certificate, service, tokens[whose])
                if certificate is whose:
                    assert answer.status_code == 200, answer.text
                else:
                    assert (answer.status_code, answer.json()["code"]) == (401, "token-holder")
