"""Admission that changes or denies what Troth writes.

Whatever it does, Troth does not write in a loop, the status says who refuses or changes what, all
else goes on, and once it is gone everything is as declared, without a restart.

`make test` takes one admission of each kind; `make campaign` takes all and watches each for longer.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from structlog.testing import capture_logs

from tests import builders
from tests.cluster.faults.admission.policies import (
    CONFIG_MAPS,
    EVENTS,
    LEASES,
    POLICIES,
    SECRETS,
    STATUSES,
    Admission,
    changing,
    denying,
    uncalled,
)
from tests.cluster.person import condition, until
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from troth.planning.owned_objects import policy_ref, secret_ref
from troth.resources.references import Ref
from troth.world.facts.objects import MANAGED_BY

THOROUGH = settings.get_current_profile_name() == "thorough"
WATCHED = 30.0 if THOROUGH else 1.0
"""Seconds for which a denied write is watched. Its backoff is in seconds, up to a minute."""
DENIED_WRITES = 16
"""Most attempts of one write while it is watched: they double in distance."""
CHANGED_WRITES = 25
"""Most writes of one object in ten minutes: 3 at once, 6 in a minute, then 9, and a changed one."""
STEP = timedelta(seconds=15)
WANTED = "every object needs an owner"
LABEL = MANAGED_BY.replace("/", "~1")


@dataclass(frozen=True)
class Case:
    """An admission, and what the identity says: a condition with a reason and parts of its message.

    Without a condition, the admission is harmless.
    """

    admission: Admission
    condition: str = ""
    told: tuple[str, ...] = ()
    short: bool = False


DENIALS = {
    "Secret": Case(denying(SECRETS, WANTED), "CertificateIssued"),
    "NetworkPolicy": Case(denying(POLICIES, WANTED), "NetworkEnforced", (WANTED,)),
    "Secret, validating webhook down": Case(uncalled(SECRETS, "Validating"), "CertificateIssued"),
    "Secret, mutating webhook down": Case(uncalled(SECRETS, "Mutating"), "CertificateIssued"),
    "NetworkPolicy, validating webhook down": Case(
        uncalled(POLICIES, "Validating"), "NetworkEnforced", ("connection refused",), short=True
    ),
    "NetworkPolicy, mutating webhook down": Case(
        uncalled(POLICIES, "Mutating"), "NetworkEnforced", ("connection refused",)
    ),
    "Secret, mutation fails": Case(
        changing(SECRETS, 'op: "remove", path: "/data/missing"'), "CertificateIssued"
    ),
    "NetworkPolicy, mutation fails": Case(
        changing(POLICIES, 'op: "remove", path: "/spec/missing"'), "NetworkEnforced", ("missing",)
    ),
}
CHANGES = {
    "label of Secrets": Case(
        changing(SECRETS, 'op: "add", path: "/metadata/labels/team", value: "x"')
    ),
    "label of NetworkPolicies": Case(
        changing(POLICIES, 'op: "add", path: "/metadata/labels/team", value: "x"')
    ),
    "note of Events": Case(changing(EVENTS, 'op: "add", path: "/note", value: "x"')),
    "rule of NetworkPolicies": Case(
        changing(POLICIES, 'op: "add", path: "/spec/egress/-", value: Object.spec.egress{}'),
        *("NetworkEnforced", ("spec.egress",)),
        short=True,
    ),
    "directions of NetworkPolicies": Case(
        changing(POLICIES, 'op: "replace", path: "/spec/policyTypes", value: ["Ingress"]'),
        *("NetworkEnforced", ("spec.policyTypes",)),
    ),
    "rules of NetworkPolicies removed": Case(
        changing(POLICIES, 'op: "remove", path: "/spec/egress"'),
        *("NetworkEnforced", ("spec.egress",)),
    ),
    "label of Secrets removed": Case(
        changing(SECRETS, f'op: "remove", path: "/metadata/labels/{LABEL}"'),
        *("CertificateIssued", (f"metadata.labels[{MANAGED_BY}]",)),
    ),
    "peer list of Secrets": Case(
        changing(SECRETS, 'op: "replace", path: "/data/identity.json", value: "e30="'),
        *("CertificateIssued", ("data[identity.json]",)),
    ),
    "key of Secrets": Case(
        changing(SECRETS, 'op: "replace", path: "/data/tls.key", value: "e30="'),
        *("CertificateIssued", ("data[tls.key]",)),
    ),
}


def chosen(cases: dict[str, Case]) -> Iterable[Any]:
    return [pytest.param(case, id=name) for name, case in cases.items() if THOROUGH or case.short]


@asynccontextmanager
async def time_passes(stage: Stage) -> AsyncIterator[None]:
    """Let the operator's time pass quickly, because its waits are longer than a test."""

    async def run() -> None:
        while True:
            await stage.later(STEP)
            await asyncio.sleep(0.05)

    running = asyncio.create_task(run())
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def opened(stage: Stage) -> tuple[Ref, Ref]:
    """Start with a governed namespace and two identities of which one calls the other."""
    await stage.domain()
    await stage.run()
    pair = await stage.pair()
    await stage.settled()
    stage.requests.clear()
    return pair


async def change(stage: Stage) -> tuple[Ref, Ref]:
    """Declare a new caller, so that objects are created and changed; return callee and caller."""
    both = [builders.accept("web"), builders.accept("orders")]
    callee = await stage.identity("payments", ports=["https"], accepts=both)
    return callee, await stage.identity("orders", calls=[builders.call("payments")])


async def goes_on_elsewhere(stage: Stage) -> None:
    """Assert that an identity is served in a namespace where the admission does not apply."""
    other = await stage.namespace()
    await stage.person.ready(IDENTITY, await stage.identity("elsewhere", other))


async def recovers(stage: Stage, *identities: Ref) -> None:
    """Assert that all is as declared after the admission has ended, and stays."""
    async with time_passes(stage):
        for ref in identities:
            await stage.person.hears(IDENTITY, ref, "PeersAgree", "AllLive", "True")
            await stage.person.ready(IDENTITY, ref)
        await stage.person.sees(
            "NetworkPolicy", policy_ref(identities[0]), lambda found: found["spec"].get("ingress")
        )
    await stage.later(timedelta(minutes=10))
    await stage.settled()
    stage.requests.clear()
    await stage.look_again()
    assert stage.requests.made == []


def refused(stage: Stage) -> Counter[str]:
    return Counter(
        resource for verb, resource, code in stage.requests.failures if verb not in {"list", "get"}
    )


@pytest.mark.parametrize("case", chosen(DENIALS))
async def test_denied_write_is_reported_and_made_once_it_is_allowed(
    stage: Stage, case: Case
) -> None:
    _, caller = await opened(stage)
    denied = case.admission.target
    async with case.admission.in_force(stage, stage.shop) as name:
        callee, new = await change(stage)
        for ref in (callee, new):
            message = await stage.person.hears(
                IDENTITY, ref, case.condition, "WriteRefused", "False"
            )
            summary = condition(await stage.person.the(IDENTITY, ref), "Ready")
            assert summary["message"] == message
            for part in (f"{denied.kind} {ref.namespace}/{ref.name}", name, *case.told):
                assert part in message
            assert denied is not SECRETS or WANTED not in message
        await goes_on_elsewhere(stage)
        if denied is SECRETS:
            await stage.person.sees("NetworkPolicy", policy_ref(new))
        else:
            await stage.person.sees("Secret", secret_ref(new))
        await asyncio.sleep(WATCHED)
        counts = refused(stage)
        assert counts.keys() == {denied.resource}
        assert counts[denied.resource] <= 2 * DENIED_WRITES
        assert stage.requests.writes["serviceidentities"] <= 8
    await recovers(stage, callee, new, caller)


@pytest.mark.parametrize("case", chosen(CHANGES))
async def test_changed_write_is_reported_and_made_again_once_it_stays(
    stage: Stage, case: Case
) -> None:
    _, caller = await opened(stage)
    target = case.admission.target
    async with case.admission.in_force(stage, stage.shop):
        callee, new = await change(stage)
        if not case.condition:
            await recovers(stage, callee, new, caller)
            return
        for ref in (callee, new):
            message = await stage.person.hears(IDENTITY, ref, case.condition, "Fighting", "False")
            for part in (f"{target.kind} {ref.namespace}/{ref.name}", "admission", *case.told):
                assert part in message
        await goes_on_elsewhere(stage)
        for _ in range(timedelta(minutes=10) // STEP):
            await stage.later(STEP)
            await asyncio.sleep(0.02)
        assert stage.requests.writes[target.resource] <= 3 * CHANGED_WRITES
        assert stage.requests.writes["serviceidentities"] <= 16
        assert stage.requests.events <= 32
    await recovers(stage, callee, new, caller)


STATUS_CASES = {
    "denied": denying(STATUSES, WANTED),
    "validating webhook down": uncalled(STATUSES, "Validating"),
    "mutating webhook down": uncalled(STATUSES, "Mutating"),
    "conditions removed": changing(STATUSES, 'op: "remove", path: "/status/conditions"'),
    "changed": changing(STATUSES, 'op: "add", path: "/status/spiffeID", value: "spiffe://x/y"'),
}


@pytest.mark.parametrize("name", STATUS_CASES if THOROUGH else ("conditions removed",))
async def test_denied_or_changed_status_is_reported_by_an_event(stage: Stage, name: str) -> None:
    _, caller = await opened(stage)
    admission = STATUS_CASES[name]
    reason = "Fighting" if admission.kind == "MutatingAdmissionPolicy" else "StatusRefused"
    began = stage.clock.now()
    async with admission.in_force(stage, stage.shop, caller) as known:
        callee, new = await change(stage)
        async with time_passes(stage):
            notes = await until(lambda: notes_of(stage, new, reason), bool)
            if reason == "StatusRefused":
                assert known in notes[0]
            await stage.person.sees("Secret", secret_ref(new))
            await stage.person.sees("NetworkPolicy", policy_ref(new))
            await goes_on_elsewhere(stage)
            await asyncio.sleep(WATCHED)
        minutes = (stage.clock.now() - began).total_seconds() / 60
        assert stage.requests.writes["serviceidentities"] <= 3 * (CHANGED_WRITES + minutes)
    await recovers(stage, callee, new, caller)


async def notes_of(stage: Stage, ref: Ref, reason: str) -> list[str]:
    """Return the notes of the Events about an identity with a reason."""
    return [
        str(event["note"])
        for event in await stage.person.all("Event", ref.namespace)
        if (event["regarding"]["name"], event["reason"]) == (ref.name, reason)
    ]


@pytest.mark.parametrize(
    "admission",
    [denying(EVENTS, WANTED), *([uncalled(EVENTS, "Validating")] if THOROUGH else [])],
    ids=lambda each: each.kind,
)
async def test_denied_event_is_logged_and_holds_nothing_back(
    stage: Stage, admission: Admission
) -> None:
    callee, caller = await opened(stage)
    with capture_logs() as logged:
        async with admission.in_force(stage, stage.shop):
            for ref in (callee, caller):
                await stage.person.delete("NetworkPolicy", policy_ref(ref))
                await stage.person.sees("NetworkPolicy", policy_ref(ref))
            await stage.settled()
        lost = [each for each in logged if each["event"] == "event lost"]
    assert {each["name"] for each in lost} == {callee.name, caller.name}
    assert all(each["lost"].startswith("Repaired: NetworkPolicy") for each in lost)
    await recovers(stage, *await change(stage), caller)


@pytest.mark.parametrize(
    "admission",
    [denying(LEASES, WANTED), *([uncalled(LEASES, "Validating")] if THOROUGH else [])],
    ids=lambda each: each.kind,
)
async def test_replica_without_a_lease_writes_nothing_and_logs_who_denies_it(
    stage: Stage, admission: Admission
) -> None:
    domain = await stage.domain()
    with capture_logs() as logged:
        async with admission.in_force(stage, stage.own) as name:
            copy = await stage.stand_by()
            await until(
                lambda: asyncio.sleep(0, [each for each in logged if "lease" in each["event"]]),
                bool,
            )
            await asyncio.sleep(WATCHED)
            assert not copy.operator.leadership.acting
            assert copy.requests.writes.total() == 0
        (line,) = [each for each in logged if "lease" in each["event"]]
        assert name in line["message"]
        await copy.acting()
    await stage.person.ready(DOMAIN, domain)


@pytest.mark.skipif(not THOROUGH, reason="the other kinds show the same in less time")
async def test_bundle_that_admission_denies_or_changes_is_reported_by_the_domain(
    stage: Stage,
) -> None:
    domain = await stage.domain()
    await stage.run()
    await stage.person.ready(DOMAIN, domain)
    other = await stage.namespace()
    altered = changing(CONFIG_MAPS, 'op: "add", path: "/data/ca.crt", value: "x"')
    for admission, reason, told in (
        (denying(CONFIG_MAPS, WANTED), "WriteRefused", WANTED),
        (altered, "Fighting", "data[ca.crt]"),
    ):
        async with admission.in_force(stage, other), time_passes(stage):
            bundle = Ref(other, "trust-bundle")
            await stage.person.delete("ConfigMap", bundle)
            message = await stage.person.hears(DOMAIN, domain, "Ready", reason, "False")
            assert f"ConfigMap {bundle}" in message
            assert told in message
        async with time_passes(stage):
            await stage.person.ready(DOMAIN, domain)
            await stage.person.sees("ConfigMap", bundle)
