"""CRDs and operator of different versions, in both directions.

The API server removes fields that a CRD does not have, so an operator that is newer than its CRDs
does nothing at all: nothing is widened, and the log names the field and the command. An operator
that is older than its CRDs cannot read what a newer version declares: it suspends those resources
and serves all others.
"""

import asyncio
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import timedelta
from functools import partial
from http import HTTPStatus
from typing import Any

import pytest
from hypothesis import settings
from structlog.testing import capture_logs

from sandbox import Sandbox
from tests import builders, webhook_builders
from tests.cluster.conftest import separate_sandbox, with_crds
from tests.cluster.faults.admission import crds
from tests.cluster.person import Manifest, Refused, condition, until
from tests.cluster.stage import DOMAIN, IDENTITY, Copy, Stage, staged
from tests.messaging import MQTT, broker, policy
from troth.cluster import crds as checks
from troth.resources.kinds import KINDS, Kind
from troth.resources.references import Ref

THOROUGH = settings.get_current_profile_name() == "thorough"
NARROWING = {
    "TrustDomain": {"spec": ["isolation"]},
    "MessageBroker": {"spec": ["allowedNamespaces"]},
}
"""Fields whose removal would widen what is declared."""
FEW = ("TrustDomain", IDENTITY)
"""Kinds that `make test` takes."""
NEWER: Mapping[str, Mapping[str, crds.Change]] = {
    "required field": {each.name: crds.newer for each in KINDS},
    "value of an enumeration": {
        "TrustDomain": crds.with_value("isolation"),
        "ServiceIdentity": crds.with_value("enforcement"),
        "MessageBroker": crds.with_value("mode"),
    },
}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    yield from separate_sandbox()


@pytest.fixture(scope="module")
def established(sandbox: Sandbox) -> Sandbox:
    return with_crds(sandbox)


@pytest.fixture(autouse=True)
def _one_api_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait less for API servers to load a CRD: here is one."""
    monkeypatch.setattr(checks, "LOADING", 0.5)


@pytest.fixture
async def isolated(established: Sandbox) -> AsyncIterator[Stage]:
    """Yield Troth with an isolated namespace in which one identity calls another."""
    async with staged(established) as stage:
        await stage.domain(isolation="Namespace")
        await stage.run()
        await stage.pair()
        await stage.settled()
        yield stage


def logged_for(logged: list[Any], kind: str) -> list[Any]:
    """Return what the log says that a CRD lacks."""
    name = crds.name_of(next(each for each in KINDS if each.name == kind))
    return [each["lacks"] for each in logged if each.get("crd") == name and "lacks" in each]


async def waits(copy: Copy, logged: list[Any], kind: str, lacks: list[str]) -> None:
    """Assert that an operator does nothing and logs what a CRD lacks."""
    await until(lambda: asyncio.sleep(0, logged_for(logged, kind)), lambda found: found == [lacks])
    assert any(checks.UPDATE in str(each.get("run")) for each in logged)
    assert not copy.operator.ready
    assert not copy.operator.leadership.acting
    assert copy.requests.writes.total() == 0
    assert copy.requests.reads.keys() == {"customresourcedefinitions"}


@pytest.mark.parametrize(
    "kind", KINDS if THOROUGH else [KINDS[0], KINDS[2]], ids=lambda each: each.name
)
async def test_operator_waits_until_a_crd_has_every_field(isolated: Stage, kind: Kind) -> None:
    stage = isolated
    await stage.operator.stop()
    before = await stage.written()
    parts = NARROWING.get(kind.name, {"spec": []})
    if THOROUGH:
        parts = {part: crds.fields_of(kind, part) for part in ("spec", "status")}
    for part, field in [(part, each) for part, fields in parts.items() for each in fields]:
        with capture_logs() as logged:
            async with crds.installed(stage.person, {kind.name: crds.without(part, field)}):
                copy = await stage.stand_by()
                await waits(copy, logged, kind.name, [f"{part}.{field}"])
            await copy.acting()
        await copy.settled()
        assert copy.requests.writes.total() == 0, f"after {part}.{field}"
        await copy.stop()
    assert await stage.written() == before


@pytest.mark.skipif(not THOROUGH, reason="the fields of one CRD show the same in less time")
async def test_operator_waits_if_the_crds_are_of_an_earlier_version(isolated: Stage) -> None:
    stage = isolated
    try:
        earlier = dict(crds.earlier())
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the history of the repository is not here")
    await stage.operator.stop()
    before = await stage.written()

    changes = {kind.name: crds.replaced_by(crd) for kind, crd in earlier.items()}
    with capture_logs() as logged:
        async with crds.installed(stage.person, changes):
            copy = await stage.stand_by()
            await until(
                lambda: asyncio.sleep(0, {each["crd"] for each in logged if "lacks" in each}),
                lambda found: crds.name_of(KINDS[0]) in found,
            )
            assert copy.requests.writes.total() == 0
        await copy.acting()
    await copy.settled()
    assert await stage.written() == before


@pytest.mark.parametrize("kind", ["TrustDomain", IDENTITY] if THOROUGH else ["TrustDomain"])
async def test_operator_ends_if_a_crd_becomes_older(isolated: Stage, kind: str) -> None:
    stage = isolated
    before = await stage.written()
    part, field = ("spec", "isolation") if kind == DOMAIN else ("status", "claims")
    with capture_logs() as logged:
        async with crds.installed(stage.person, {kind: crds.without(part, field)}):
            error = await stage.operator.ended()
            assert isinstance(error, BaseExceptionGroup)
            assert error.subgroup(checks.OutdatedCRDs) is not None
            assert logged_for(logged, kind) == [[f"{part}.{field}"]]
            assert await stage.written() == before
            assert await stage.person.all("NetworkPolicy", stage.shop)
    copy = await stage.run()
    await copy.settled()
    assert await stage.written() == before


def declared(stage: Stage) -> dict[str, Manifest]:
    """Return one resource of each kind, on which nothing else depends."""
    shop = stage.shop
    stage.domains.append(f"{stage.name}-victim")
    domain = builders.domain("nobody")
    return {
        "TrustDomain": domain | {"metadata": {"name": f"{stage.name}-victim"}},
        IDENTITY: builders.identity("victim", shop),
        "MessageBroker": broker("victim", shop, MQTT),
        "TopicPolicy": policy("victim", shop, at=(shop, "victim")),
        "WebhookEndpoint": webhook_builders.endpoint("victim", shop),
        "CredentialRotation": builders.rotation(IDENTITY, "web", shop, name="victim"),
    }


@pytest.mark.parametrize("name", NEWER if THOROUGH else ["required field"])
@pytest.mark.long
async def test_resource_of_a_newer_version_is_suspended_alone(isolated: Stage, name: str) -> None:
    stage = isolated
    changes = {kind: NEWER[name][kind] for kind in NEWER[name] if THOROUGH or kind in FEW}
    victims = {kind: each for kind, each in declared(stage).items() if kind in changes}
    before = await stage.written()
    async with crds.installed(stage.person, changes):
        for kind, manifest in victims.items():
            field, value = newer_field(kind, name)
            declaration = {**manifest, "spec": {**manifest["spec"], field: value}}
            await until(partial(keeps, stage, declaration, field), bool)
            assert field in await until(partial(rejection, stage, declaration), bool)
        await stage.settled()
        await stage.later(timedelta(minutes=10))  # what it began before it saw the field is over
        await stage.settled()
        stage.requests.clear()
        await stage.look_again()
        await stage.later(timedelta(minutes=10))
        await stage.settled()
        assert stage.requests.writes.total() == 0
        now = await stage.written()
        assert {each: now[each] for each in before} == before
        for kind, manifest in victims.items():
            await stage.person.delete(kind, Ref.of(manifest))
    ordinary = await until(partial(admitted, stage, "ordinary"), bool)
    assert ordinary is not None
    await stage.person.ready(IDENTITY, ordinary)


async def admitted(stage: Stage, name: str) -> Ref | None:
    """Declare an identity; return None while the API server still has the newer schema."""
    try:
        return await stage.identity(name)
    except Refused as refusal:
        if refusal.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
        return None


async def rejection(stage: Stage, declaration: Manifest) -> str:
    """Change a declaration; return the message of `Ready` if it is invalid, else an empty text.

    For some seconds after a CRD is updated, watches of the earlier schema do not show its new
    fields. The next change of the object shows them.
    """
    annotations = {"example.com/changed": str(time.monotonic())}
    metadata = {**declaration["metadata"], "annotations": annotations}
    await stage.person.put({**declaration, "metadata": metadata})
    await asyncio.sleep(1)
    found = await stage.person.the(declaration["kind"], Ref.of(declaration))
    if "conditions" not in found.get("status", {}):
        return ""
    ready = condition(found, "Ready")
    return str(ready["message"]) if ready["reason"] == "InvalidSpec" else ""


def newer_field(kind: str, name: str) -> tuple[str, str]:
    """Return the field that only a newer version can read, and its value."""
    if name == "required field":
        return crds.LATER, "x"
    field = {"TrustDomain": "isolation", IDENTITY: "enforcement", "MessageBroker": "mode"}[kind]
    return field, crds.LATER.title()


async def keeps(stage: Stage, manifest: Manifest, field: str) -> bool:
    """Apply a manifest; return whether the API server accepted and stored the newer field."""
    try:
        answer = await stage.person.put(manifest)
    except Refused:
        return False
    return bool(answer["spec"].get(field) == manifest["spec"][field])
