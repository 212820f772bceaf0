"""Hostile objects of every watched kind, which the API server stores but common parsers reject.

Anybody who may write one Service can write these: `managedFields` as deep as the API server stores
them, or with bytes that are not UTF-8, and a JSON Schema as deep.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from sandbox import Sandbox
from tests import builders, webhook_builders
from tests.builders import Manifest
from tests.cluster.conftest import separate_sandbox, with_crds
from tests.cluster.person import until
from tests.cluster.stage import IDENTITY, Stage, opened, staged
from tests.messaging import MQTT, broker, policy, review
from tests.patience import PATIENCE
from troth.cli.inputs.access import PersonalServer
from troth.cluster.api import ApiServer
from troth.cluster.connection.connecting import configuration
from troth.cluster.selection import Selection
from troth.documents.gateway_report import LABEL as REPORT
from troth.reconcile.loop.informers import selections
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY, UNREADABLE
from troth.world.index.workloads import BUDGET, KINDS
from troth.world.observation.webhook_secrets import GIVEN_LABEL
from troth.world.watch_class import SCHEMA, watch_class_of

FIELDS = "fields"
OURS = {MANAGED_BY: "troth"}
DEEP, DEEPEST = 220, 9990


def nested(levels: int) -> bytes:
    return b'{"f:a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


HOSTILE = {
    f"{DEEP} levels": nested(DEEP),
    f"{DEEPEST} levels": nested(DEEPEST),
    "no UTF-8": b'{"f:\xff":{}}',
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """Other tests could not decode lists with these objects."""
    yield from separate_sandbox()


@pytest.fixture(scope="module")
def established(sandbox: Sandbox) -> Sandbox:
    return with_crds(sandbox)


@pytest.fixture
async def rolling(established: Sandbox) -> AsyncIterator[Stage]:
    """Install Troth from its chart with every kind watched, without starting it."""
    async with staged(established, rollouts=True) as setting:
        yield setting


def managed(manifest: Manifest) -> Manifest:
    """Return the object with managed fields; `FIELDS` is their placeholder."""
    entry = {
        "manager": "hostile",
        "operation": "Update",
        "apiVersion": manifest["apiVersion"],
        "time": "2027-01-01T00:00:00Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": FIELDS,
    }
    return {**manifest, "metadata": {**manifest["metadata"], "managedFields": [entry]}}


def bare(kind: str, name: str, namespace: str, labels: Manifest, **more: object) -> Manifest:
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **more}


def of_every_kind(stage: Stage, name: str) -> list[Manifest]:
    """Return one object of every watched kind, on which nothing else depends."""
    shop, app = stage.shop, {"matchLabels": {"app": name}}
    template = {
        "metadata": {"labels": app["matchLabels"]},
        "spec": {"containers": [{"name": "program", "image": "program"}]},
    }
    workload = {"selector": app, "template": template}
    spec = {"spec": {"podSelector": app, "policyTypes": ["Ingress"]}}
    return [
        builders.namespace(f"{shop}-{name}"),
        bare("Secret", name, shop, OURS),
        bare("Secret", f"{name}-given", shop, {GIVEN_LABEL: "true"}),
        bare("Secret", name, stage.own, {}),
        bare("ConfigMap", name, shop, OURS),
        bare("ConfigMap", f"{name}-schemas", shop, {SCHEMA: "true"}),
        bare("ConfigMap", f"{name}-report", shop, {REPORT: name}),
        {
            **bare("NetworkPolicy", name, shop, OURS, **spec),
            "apiVersion": "networking.k8s.io/v1",
        },
        {
            **bare("EndpointSlice", f"{shop}-{name}", "default", SLICE),
            "apiVersion": "discovery.k8s.io/v1",
            "addressType": "IPv4",
            "endpoints": [],
        },
        {
            **bare("Service", name, shop, {}),
            "spec": {"selector": app["matchLabels"], "ports": [{"port": 443}]},
        },
        *({**bare(kind, name, shop, {}, spec=workload), "apiVersion": "apps/v1"} for kind in KINDS),
        {**bare(BUDGET, name, shop, {}, spec={"selector": app}), "apiVersion": "policy/v1"},
        builders.domain(f"{shop}-{name}"),
        builders.identity(name, shop),
        broker(name, shop, MQTT),  # not served, so that no operator looks for its Secret
        policy(name, shop, at=(shop, name)),
        webhook_builders.endpoint(name, shop),
        builders.rotation(target=name, namespace=shop, name=name),
        review(name, shop, approved=False),
    ]


SLICE = {"kubernetes.io/service-name": "kubernetes"}


def is_cached(stage: Stage, manifest: Manifest) -> bool:
    world = stage.operator.operator.engine.world
    return world.knows(watch_class_of(manifest, stage.own), Ref.of(manifest))


async def wait_until_cached(stage: Stage, *manifests: Manifest) -> None:
    """Wait until the operator has all of these in its cache."""

    async def unseen() -> list[str]:
        return [f"{m['kind']} {Ref.of(m)}" for m in manifests if not is_cached(stage, m)]

    await until(unseen, lambda found: not found)


@asynccontextmanager
async def created(
    stage: Stage, manifests: list[Manifest], fields: bytes
) -> AsyncIterator[list[Manifest]]:
    """Create objects, and delete those that no namespace of the test deletes."""
    try:
        for each in manifests:
            await stage.person.send(managed(each), {FIELDS: fields})
        yield manifests
    finally:
        for each in manifests:
            ref = Ref.of(each)
            if ref.namespace != stage.own:
                await stage.person.delete(each["kind"], ref)


@pytest.mark.long
def test_objects_cover_every_watched_kind(rolling: Stage) -> None:
    hostile = of_every_kind(rolling, "hostile")
    kinds = {watch_class_of(each, rolling.own) for each in hostile}
    watched = selections(rolling.own, rollouts=True)
    assert kinds == {each.subset or each.kind for each in watched}


@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE)
async def test_no_hostile_object_hides_another_object_or_a_revocation(
    rolling: Stage, fields: bytes
) -> None:
    stage = rolling
    await stage.domain()
    await stage.run()
    payments, web = await stage.pair()
    async with (
        created(stage, of_every_kind(stage, "hostile"), fields) as hostile,
        created(stage, of_every_kind(stage, "later"), b"{}") as later,
    ):
        await wait_until_cached(stage, *hostile, *later)
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        await stage.person.hears(IDENTITY, web, "PeersAgree", "NotAccepted", "False")
        await stage.settled()
        assert not opened(await stage.policy(payments), "ingress")

        await stage.operator.stop()
        await stage.run()
        assert stage.operator.operator.ready
        assert all(is_cached(stage, each) for each in (*hostile, *later))
        await stage.settled()
        assert not stage.requests.writes

        await stage.identity("payments", ports=["https"], accepts=[builders.accept("web")])
        await stage.person.hears(IDENTITY, web, "PeersAgree", "AllLive", "True")
        world = stage.operator.operator.engine.world
        assert not world.quarantined
        assert not world.unreadable
        for each in hostile:
            await stage.person.delete(each["kind"], Ref.of(each))

        async def remaining() -> list[str]:
            # a namespace without a namespace controller terminates for ever
            return [
                each["kind"]
                for each in hostile
                if each["kind"] != "Namespace" and is_cached(stage, each)
            ]

        await until(remaining, lambda kinds: not kinds)


@pytest.mark.parametrize("levels", [DEEP, DEEPEST, 9996])
async def test_policy_with_a_deep_schema_reports_it_and_hides_no_other(
    stage: Stage, levels: int
) -> None:
    """Also with 9,996 levels, with which the API server could not list its own objects."""
    await stage.domain()
    await stage.run()
    schema = b'{"not":' * (levels - 1) + b'{"type":"string"}' + b"}" * (levels - 1)
    deep = policy("deep", stage.shop, at=(stage.shop, "main"), schema={"jsonSchema": "SCHEMA"})
    try:
        await stage.person.put(broker("main", stage.shop, MQTT))
        await stage.person.send(deep, {"SCHEMA": schema})
        await stage.person.put(policy("later", stage.shop, at=(stage.shop, "main")))
        await wait_until_cached(stage, deep, policy("later", stage.shop))
        config = await configuration(str(stage.sandbox.kubeconfig))

        async def told() -> tuple[str, str]:
            async with ApiServer(config) as server:
                found = await server.get("TopicPolicy", Ref(stage.shop, "deep"))
            listed = (found.get("status") or {}).get("conditions") or []
            valid: Manifest = next((each for each in listed if each["type"] == "SchemaValid"), {})
            return valid.get("reason", ""), valid.get("message", "")

        reason, message = await until(told, lambda found: found[0])
        assert reason == "SchemaTooLarge"
        assert "nests deeper than" in message
        await stage.settled()
        await stage.operator.stop()
        await stage.run()
        await wait_until_cached(stage, deep, policy("later", stage.shop))
        await stage.settled()
        assert not stage.requests.writes
    finally:
        await stage.person.delete("TopicPolicy", Ref(stage.shop, "deep"))


@pytest.mark.parametrize("fields", HOSTILE.values(), ids=HOSTILE)
async def test_every_request_reads_a_hostile_object(stage: Stage, fields: bytes) -> None:
    """The requests of the issuer, the gateway, the command line and writes."""
    secret = bare("Secret", "hostile", stage.shop, OURS, stringData={"word": "x"})
    hostile = builders.identity("hostile", stage.shop)
    ref = Ref(stage.shop, "hostile")
    for each in (secret, hostile):
        await stage.person.send(managed(each), {FIELDS: fields})
    config = await configuration(str(stage.sandbox.kubeconfig))
    async with PersonalServer(config) as server:
        found = await server.get("Secret", ref)
        assert (found["data"], UNREADABLE in found) == ({"word": "eA=="}, False)
        version = (await server.metadata("Secret", ref))["metadata"]["resourceVersion"]
        for metadata_only in (False, True):
            selection = Selection("Secret", stage.shop, labels=f"{MANAGED_BY}=troth")
            pages = server.pages(selection, metadata_only=metadata_only)
            (item,) = [item async for page in pages for item in page["items"]]
            assert Ref.of(item) == ref
        patched = await server.merge_patch("Secret", ref, {"data": {"word": "eQ=="}})
        assert patched["data"] == {"word": "eQ=="}
        async with asyncio.timeout(PATIENCE):
            async for event in server.watch(Selection("Secret", stage.shop), version, 60.0):
                assert (event["type"], event["object"]["data"]) == ("MODIFIED", {"word": "eQ=="})
                break
        status = {"status": {"observedGeneration": 1}}
        written = await server.merge_patch(IDENTITY, ref, status, subresource="status")
        assert written["status"]["observedGeneration"] == 1
        (listed,) = await server.listed(IDENTITY, stage.shop)
        assert listed["spec"]["workload"]["serviceAccountName"] == "hostile"
