"""Others who may publish or consume in a NATS account are named, and never touched."""

import json

import pytest

from tests.brokers.nats.stage import Stage
from tests.builders import Manifest
from tests.reconcile.brokers.at_work import EVERY, ORDERS, TOPIC, at_work, market
from troth.brokers.nats.jwt import Key, Kind

OTHER = Key.generate(Kind.ACCOUNT).public
SIGNER = Key.generate(Kind.ACCOUNT).public
CLAIMS: dict[str, tuple[Manifest, str]] = {
    "a signing key without a scope": ({"signing_keys": [SIGNER]}, f"{SIGNER} may publish"),
    "an exported stream": (
        {"exports": [{"name": "a", "subject": "prod.>", "type": "stream"}]},
        "export:prod.> may consume",
    ),
    "an exported service": (
        {"exports": [{"name": "a", "subject": TOPIC, "type": "service"}]},
        f"export:{TOPIC} may publish",
    ),
    "an imported stream": (
        {
            "imports": [
                {
                    "name": "a",
                    "subject": "x.>",
                    "account": OTHER,
                    "local_subject": "prod.>",
                    "type": "stream",
                }
            ]
        },
        f"import:{OTHER} may publish",
    ),
    "a subject mapping": (
        {"mappings": {"open.orders": [{"subject": TOPIC, "weight": 100}]}},
        "mapping:open.orders may publish",
    ),
}


@pytest.mark.parametrize(("more", "told"), CLAIMS.values(), ids=list(CLAIMS))
async def test_access_in_the_claims_is_named_and_stays(
    nats: Stage, more: Manifest, told: str
) -> None:
    async with at_work(nats, market(nats)) as it:
        assert it.condition_of("TopicPolicy", ORDERS, "Exclusive")[:2] == ("True", "OnlyGranted")
        claims = await nats.claims()
        keys = [*claims["nats"]["signing_keys"], *more.get("signing_keys", [])]
        claims["nats"] |= {**more, "signing_keys": keys}
        await nats.push(claims)
        await it.later(EVERY)
        status, reason, message = it.condition_of("TopicPolicy", ORDERS, "Exclusive")
        assert (status, reason) == ("False", "ForeignAccess")
        assert told in message
        after = json.dumps((await nats.claims())["nats"], sort_keys=True)
        assert after == json.dumps(claims["nats"], sort_keys=True)


async def test_connected_user_of_the_accounts_own_key_is_named(nats: Stage) -> None:
    async with at_work(nats, market(nats, administrators=[])) as it:
        assert it.condition_of("TopicPolicy", ORDERS, "Exclusive")[0] == "True"
        witness = await nats.witness()
        await it.later(EVERY)
        status, _, message = it.condition_of("TopicPolicy", ORDERS, "Exclusive")
        assert status == "False"
        assert f"{nats.account.public}/U" in message
        await witness.close()
        await it.later(EVERY)
        assert it.condition_of("TopicPolicy", ORDERS, "Exclusive")[0] == "True"
