"""What people do to the objects of brokers with kubectl, and what is made of it."""

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
"""After which every broker is looked at again."""
SCHEMA = {"type": "object", "properties": {"id": {"type": "string"}}}


async def test_what_is_done_to_a_credential_is_put_right_or_told(market: Market) -> None:
    stage, person = market.stage, market.stage.person
    await stage.run()
    await market.open()
    secret = credential_ref(market.checkout, market.main)
    before = await market.credential(market.checkout)

    # labels are put back, and nothing is issued for that
    await market.kubectl("label", "secret", secret.name, "-n", stage.shop, f"{MANAGED_BY}-")
    labelled = await person.sees(
        "Secret", secret, lambda seen: MANAGED_BY in (seen["metadata"].get("labels") or {})
    )
    await stage.settled()
    assert labelled["data"] == before["data"]

    # data that somebody wrote is not kept, and what it held is revoked
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

    # one that is gone is made again
    await market.kubectl("delete", "secret", secret.name, "-n", stage.shop)
    await person.sees("Secret", secret)
    await stage.settled()
    assert await market.signing_keys() == 2
    await market.works()


async def test_a_secret_of_another_type_is_left_alone_until_it_is_gone(market: Market) -> None:
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
    assert "so Troth does not change it until it is deleted" in said
    left = await person.the("Secret", secret)
    assert left["data"] == foreign["data"]
    await person.delete("Secret", secret)
    await market.in_place()
    assert (await market.credential(market.checkout))["type"] == TYPE
    await market.works()


async def test_an_admin_secret_that_is_changed_counts_from_the_next_look(market: Market) -> None:
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
    await market.works()  # nothing is taken away from anybody for that
    await person.edit("Secret", Ref(market.space, "nats-admin"), {"data": good["data"]})
    await stage.later(LOOK)
    await market.in_place()


async def test_a_schema_that_kubectl_changes_reaches_the_identities(market: Market) -> None:
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
