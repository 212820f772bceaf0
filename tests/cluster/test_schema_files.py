"""Schemas of messages on a real API server: in the Secret, and in a ConfigMap beside it."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from tests.cluster.person import Manifest, condition
from tests.cluster.stage import IDENTITY, Stage
from tests.messaging import MQTT, broker, policy, producer
from tests.planning.identity.test_schema_files import FITTING
from troth.planning.owned_objects import FOREIGN_RETRY, schemas_ref
from troth.resources.messaging.schemas.schema_text import digest_of
from troth.resources.references import Ref

WRITTEN = "SchemasWritten"


def wide(stage: Stage, number: int, version: str = "1") -> Manifest:
    """Return a policy with a schema of 60,000 bytes that also accepts the previous one."""
    return policy(
        f"p{number:02}",
        stage.shop,
        topic={"name": f"prod.t{number:02}"},
        producers=[producer("checkout")],
        at=(stage.shop, "main"),
        environment=stage.name,
        schema={
            "jsonSchema": {"title": version, "description": f"{number}".ljust(60_000, "x")},
            "accept": "Previous",
        },
    )


async def publishes(stage: Stage, count: int) -> Ref:
    """Have an identity publish by so many policies."""
    named = [{"policy": {"name": f"p{number:02}"}} for number in range(count)]
    return await stage.identity("checkout", publishes=named)


async def declared(stage: Stage, count: int) -> Ref:
    await stage.domain()
    governed = {"matchLabels": {"domain": stage.name}}
    described = broker("main", stage.shop, MQTT, environment=stage.name, allowedNamespaces=governed)
    await stage.person.put(described)
    for number in range(count):
        await stage.person.put(wide(stage, number))
    return await publishes(stage, count)


async def settled(stage: Stage, identity: Ref) -> str:
    """Wait for the Secret and the ConfigMap; return the message of the condition."""
    message = await stage.person.hears(IDENTITY, identity, WRITTEN, "InConfigMap", "True")
    await stage.settled()
    return message


async def schemas_of(stage: Stage, identity: Ref, number: int) -> list[Manifest]:
    """Return the schemas of one policy in the identity's document."""
    data = (await stage.secret(identity))["data"]
    document: Manifest = json.loads(base64.b64decode(data["identity.json"]))
    found: list[Manifest] = next(
        each["schemas"]
        for each in document["messages"]
        if each["policy"] == f"{stage.shop}/p{number:02}"
    )
    return found


async def texts_of(stage: Stage, identity: Ref, number: int) -> list[Any]:
    """Return these schemas as a service reads them, each verified by its digest."""
    schemas = await schemas_of(stage, identity, number)
    files = (await stage.person.get("ConfigMap", schemas_ref(identity)) or {}).get("data", {})
    texts = [each["text"] if "text" in each else files[each["file"]] for each in schemas]
    assert [digest_of(text) for text in texts] == [each["digest"] for each in schemas]
    return [json.loads(text)["title"] for text in texts]


@pytest.mark.parametrize("everywhere", [True, False], ids=["all namespaces", "one namespace"])
async def test_schemas_that_do_not_fit_are_in_a_config_map_while_they_do_not(
    stage: Stage, *, everywhere: bool
) -> None:
    if not everywhere:
        await stage.install_for(stage.shop)
    identity = await declared(stage, FITTING + 1)
    await stage.run()
    message = await settled(stage, identity)
    assert message.endswith(f"mount ConfigMap {schemas_ref(identity)} at /var/run/troth/schemas")
    assert await texts_of(stage, identity, 0) == ["1"]
    assert await texts_of(stage, identity, FITTING) == ["1"]
    made = await stage.person.the("ConfigMap", schemas_ref(identity))
    assert [each["name"] for each in made["metadata"]["ownerReferences"]] == ["checkout"]
    await publishes(stage, FITTING)
    await stage.person.misses("ConfigMap", schemas_ref(identity))
    await stage.settled()
    seen = await stage.person.the(IDENTITY, identity)
    assert condition(seen, WRITTEN) == {}


async def test_previous_schema_in_a_file_outlives_a_restart(stage: Stage) -> None:
    identity = await declared(stage, FITTING + 1)
    await stage.run()
    await settled(stage, identity)
    await stage.person.put(wide(stage, FITTING, "2"))
    await stage.settled()
    assert await texts_of(stage, identity, FITTING) == ["2", "1"]
    await stage.operator.stop()
    await stage.person.put(wide(stage, FITTING, "1"))
    await stage.run()
    await stage.settled()
    assert await texts_of(stage, identity, FITTING) == ["1", "2"]
    stage.requests.clear()
    await stage.look_again()
    assert not stage.requests.writes


async def test_config_map_of_somebody_else_is_left_alone(stage: Stage) -> None:
    identity = await declared(stage, FITTING + 1)
    ref = schemas_ref(identity)
    theirs = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": ref.name, "namespace": ref.namespace},
        "data": {"theirs": "kept"},
    }
    await stage.person.put(theirs)
    await stage.run()
    message = await stage.person.hears(IDENTITY, identity, WRITTEN, "Conflict", "False")
    assert str(ref) in message
    assert (await stage.person.the("ConfigMap", ref))["data"] == {"theirs": "kept"}
    await stage.person.delete("ConfigMap", ref)
    await stage.later(FOREIGN_RETRY + timedelta(seconds=1))
    await settled(stage, identity)
    assert await texts_of(stage, identity, FITTING) == ["1"]


async def test_changed_file_is_restored(stage: Stage) -> None:
    identity = await declared(stage, FITTING + 1)
    ref = schemas_ref(identity)
    await stage.run()
    await settled(stage, identity)
    (schema,) = await schemas_of(stage, identity, FITTING)
    before = (await stage.person.the("ConfigMap", ref))["data"]
    await stage.person.edit("ConfigMap", ref, {"data": {schema["file"]: "true"}})
    await stage.person.sees("ConfigMap", ref, lambda found: found["data"] == before)
