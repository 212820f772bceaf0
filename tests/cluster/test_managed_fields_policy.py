"""The chart's admission policy for `managedFields` that the API server stores and cannot read."""

from collections.abc import AsyncIterator

import pytest

from tests import builders, webhook_builders
from tests.cluster import chart
from tests.cluster.chart import LEVELS, MEMBERS
from tests.cluster.person import Refused, until
from tests.cluster.stage import IDENTITY, Stage
from tests.cluster.test_hostile_objects import FIELDS, managed, nested
from tests.messaging import MQTT, broker, policy, review
from troth.resources.references import Ref


def wide(members: int, levels: int = 1) -> bytes:
    """Return fields with these members at the last of some levels."""
    inner = b"{" + b",".join(b'"f:a%d":{}' % number for number in range(members)) + b"}"
    return b'{"f:a":' * (levels - 1) + inner + b"}" * (levels - 1)


HOSTILE = {
    "levels": nested(LEVELS + 2),
    "deepest": nested(9_990),
    "null": b'{"f:a":' * 9_996 + b"null" + b"}" * 9_996,
    "wide": wide(MEMBERS + 1),
    "wide below": wide(60_000, LEVELS),
}


@pytest.fixture
async def protected(stage: Stage) -> AsyncIterator[Stage]:
    """Yield the stage once the policy is in force."""
    rules = chart.managed_fields_policy(stage.name)
    await stage.person.put(*rules)
    try:
        await until(lambda: refusal(stage, "probe", HOSTILE["levels"]), bool)
        yield stage
    finally:
        await chart.uninstall(stage.person, rules)


async def refusal(stage: Stage, name: str, fields: bytes) -> str:
    """Create an identity with these managed fields; return why it was denied, "" if it was not."""
    manifest = builders.identity(name, stage.shop)
    try:
        await stage.person.send(managed(manifest), {FIELDS: fields})
    except Refused as refused:
        return str(refused)
    await stage.person.delete(IDENTITY, Ref.of(manifest))
    return ""


@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE)
async def test_fields_that_nest_deep_or_are_wide_are_denied(
    protected: Stage, fields: bytes
) -> None:
    denied = await refusal(protected, "deep", fields)
    assert "managed-fields" in denied
    assert await protected.person.all(IDENTITY, protected.shop) == []


async def test_objects_of_every_kind_are_accepted(protected: Stage) -> None:
    shop, person = protected.shop, protected.person
    assert await refusal(protected, "allowed", wide(MEMBERS, LEVELS)) == ""
    made = [
        builders.identity("payments", shop, ports=["https"], accepts=[builders.accept("web")]),
        broker("main", shop, MQTT),
        policy("orders", shop, at=(shop, "main")),
        webhook_builders.endpoint("stripe", shop),
        builders.rotation(target="payments", namespace=shop, name="payments"),
        review("orders", shop, approved=False),
    ]
    for each in made:
        await person.put(each)
    status = {"status": {"observedGeneration": 1}}
    await person.edit(IDENTITY, Ref.of(made[0]), status, subresource="status")
