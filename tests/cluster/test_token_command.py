"""`troth token` beside the operator: it reads scopes, keys and issuers from the cluster."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from tests.builders import accept, call
from tests.cluster.command import Ended, troth
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from troth.pki.keys.private import load_private_key
from troth.pki.tokens.signing import TokenSigner
from troth.resources.references import Ref


async def opened_shop(stage: Stage) -> str:
    """Declare that checkout calls payments with tokens; return the SPIFFE ID of payments."""
    domain = await stage.domain(tokens={})
    await stage.run()
    accepts = [accept("checkout", scopes=["payments.charge", "payments.refund"])]
    payments = await stage.identity(
        "payments", ports=["https"], accepts=accepts, authentication={"token": {}}
    )
    asks = call("payments") | {"scopes": ["payments.charge"]}
    checkout = await stage.identity("checkout", calls=[asks])
    for ref in (payments, checkout):
        await stage.person.ready(IDENTITY, ref)
    await stage.person.ready(DOMAIN, domain)
    spiffe_id: str = (await stage.person.the(IDENTITY, payments))["status"]["spiffeID"]
    return spiffe_id


async def signed(stage: Stage, callee: str, **more: Any) -> str:
    """Return a token as the issuer would make it, with the issuer's key."""
    secret = await stage.person.the("Secret", Ref(stage.own, f"{stage.name}-tokens"))
    key = load_private_key(base64.b64decode(secret["data"]["current.key"]))
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    wanted: dict[str, Any] = {
        "issuer": f"https://{stage.name}-issuer.{stage.own}.svc:8443",
        "subject": callee.replace("payments", "checkout"),
        "audience": callee,
        "scopes": ["payments.charge"],
        "lifetime": timedelta(minutes=5),
        "now": datetime.now(UTC),
        "certificate": None,
        "token_id": "a-token",
    }
    return TokenSigner(key).access_token(**wanted | more)


async def verified(stage: Stage, audience: str, token: str, folder: Path) -> Ended:
    file = folder / "token"
    file.write_text(token)
    place = ("-n", stage.shop, "--own-namespace", stage.own)
    admin = stage.sandbox.kubeconfig
    return await troth(admin, "token", "verify", "-a", audience, *place, f"@{file}")


async def test_explain_reads_the_cluster(stage: Stage) -> None:
    await opened_shop(stage)
    pair = (f"{stage.shop}/checkout", f"{stage.shop}/payments")
    options = ("--own-namespace", stage.own, "-o", "json")
    ended = await troth(stage.sandbox.kubeconfig, "token", "explain", *pair, *options)
    assert ended.code == 0, ended.errors
    told = json.loads(ended.output)
    assert told["issuer"] == f"https://{stage.name}-issuer.{stage.own}.svc:8443"
    assert {each["scope"]: each["held"] for each in told["scopes"]} == {
        "payments.charge": True,
        "payments.refund": False,
    }


async def test_explain_shows_what_the_operator_compiles_for_the_caller(stage: Stage) -> None:
    await opened_shop(stage)
    secret = await stage.secret(Ref(stage.shop, "checkout"))
    identity = json.loads(base64.b64decode(secret["data"]["identity.json"]))
    (token,) = [each["token"] for each in identity["calls"]]
    pair = (f"{stage.shop}/checkout", f"{stage.shop}/payments")
    options = ("--own-namespace", stage.own, "-o", "json")
    ended = await troth(stage.sandbox.kubeconfig, "token", "explain", *pair, *options)
    told = json.loads(ended.output)
    assert told["audience"] == token["audience"]
    assert [each["scope"] for each in told["scopes"] if each["held"]] == token["scopes"]
    assert identity["issuers"] == {f"{stage.name}.example": told["issuer"]}


async def test_verify_reads_keys_and_issuers_from_the_cluster(stage: Stage, tmp_path: Path) -> None:
    payments = await opened_shop(stage)
    ended = await verified(stage, payments, await signed(stage, payments), tmp_path)
    assert ended.code == 0, ended.output + ended.errors
    assert "valid access token" in ended.output
    other = await signed(stage, payments, audience="https://ledger.example", issuer="https://a.b")
    ended = await verified(stage, payments, other, tmp_path)
    assert ended.code == 1
    assert "rejected: token-issuer, token-audience" in ended.output
