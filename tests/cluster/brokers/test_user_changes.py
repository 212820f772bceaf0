"""Changes that users make to the objects of brokers with kubectl, and Troth's reaction."""

import base64
import json
from datetime import timedelta

from tests.cluster.brokers.market import BROKER, Market
from tests.cluster.person import until
from tests.cluster.stage import IDENTITY
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY
from troth.world.index.brokers import credential_ref
from troth.world.observation.broker_secrets import TYPE

LOOK = timedelta(seconds=61)
"""Time after which Troth reads every broker again."""
SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}}


async def test_changed_credential_is_restored_or_reported(market: Market) -> None:
    stage, person = market.stage, market.stage.person
    await stage.run()
    await market.open()
    secret = credential_ref(market.checkout, market.main)
    before = await market.credential(market.checkout)

    # labels are restored without issuing a credential
    await market.kubectl("label", "secret", secret.name, "-n", stage.shop, f"{MANAGED_BY}-")
    labelled = await person.sees(
        "Secret", secret, lambda seen: MANAGED_BY in (seen["metadata"].get("labels") or {})
    )
    await stage.settled()
    assert labelled["data"] == before["data"]

    # foreign data is replaced, and the credential it held is revoked
    forged = base64.b64encode(b"forged").decode()
    await person.edit("Secret", secret, {"data": {"user.creds": forged, "more": forged}})
    mended = await person.sees(
        "Secret", secret, lambda seen: seen["data"].get("user.creds") not in (None, forged)
    )
    await stage.settled()
    assert mended["data"].keys() == before["data"].keys()
    assert mended["data"]["user.creds"] != before["data"]["user.creds"]
    assert await market.signing_keys() == 2
    await market.works()

    # a deleted one is issued again
    await market.kubectl("delete", "secret", secret.name, "-n", stage.shop)
    await person.sees("Secret", secret)
    await stage.settled()
    assert await market.signing_keys() == 2
    await market.works()


async def test_secret_of_another_type_is_not_changed_until_it_is_deleted(market: Market) -> None:
    stage, person = market.stage, market.stage.person
    await stage.run()
    await market.open()
    secret = credential_ref(market.checkout, market.main)
    ours = await market.credential(market.checkout)
    foreign = {
        **ours,
        "type": "Opaque",
        "metadata": {
            key: ours["metadata"][key]
            for key in ("name", "namespace", "labels", "annotations", "ownerReferences")
        },
    }
    foreign["data"] = {"theirs": base64.b64encode(b"theirs").decode()}
    await stage.operator.stop()
    await person.delete("Secret", secret)
    await person.put({**foreign, "apiVersion": "v1", "kind": "Secret"})
    await stage.run()
    said = await market.hears(IDENTITY, market.checkout, "CredentialsIssued", "Conflict")
    assert "exists but is not a broker credential, so it was not changed; delete it" in said
    left = await person.the("Secret", secret)
    assert left["data"] == foreign["data"]
    await person.delete("Secret", secret)
    await market.in_place()
    await stage.settled()  # a first credential is in its Secret before the broker has it
    assert (await market.credential(market.checkout))["type"] == TYPE
    await market.works()


async def test_changed_admin_secret_takes_effect_at_the_next_check(market: Market) -> None:
    stage, person = market.stage, market.stage.person
    await stage.run()
    await market.open()
    good = await person.the("Secret", Ref(market.space, "nats-admin"))
    wrong = {**good["data"], "operator.nk": base64.b64encode(b"SO-nothing").decode()}
    await person.edit("Secret", Ref(market.space, "nats-admin"), {"data": wrong})
    await stage.later(LOOK)
    said = await market.hears(BROKER, market.main, "Ready", "AdminRefused")
    assert "operator.nk" in said
    assert "SO-nothing" not in said
    await market.works()  # no access is revoked because of it
    await person.edit("Secret", Ref(market.space, "nats-admin"), {"data": good["data"]})
    await stage.later(LOOK)
    await market.in_place()


async def test_schema_changed_with_kubectl_reaches_the_identities(market: Market) -> None:
    stage = market.stage
    await stage.run()
    labelled = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "orders",
            "namespace": stage.shop,
            "labels": {"troth.dev/schema": "true"},
        },
        "data": {"orders.json": json.dumps(SCHEMA)},
    }
    referenced = {"configMapRef": {"name": "orders", "key": "orders.json"}}
    await stage.person.put(labelled)
    await market.open(market.policy(schema=referenced))

    async def texts() -> str:
        return json.dumps(await market.messages(market.fulfilment))

    await until(texts, lambda text: "string" in text)
    await market.kubectl(
        "patch",
        *("configmap", "orders", "-n", stage.shop, "--type=merge", "-p"),
        json.dumps({"data": {"orders.json": json.dumps({"type": "array"})}}),
    )
    await until(texts, lambda text: "array" in text)
    await stage.settled()
