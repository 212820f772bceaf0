"""An API server that refuses: it is too busy, or broken, or somebody else was first.

It is left alone when it asks for that, and otherwise asked less and less. Meanwhile the status says
what is missing and why; afterwards everything is as declared, and nothing was done twice.
"""

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from sandbox import faults
from sandbox.faults import Call, FaultyPath
from tests.cluster.paths import WRITTEN, committed, faulty
from tests.cluster.person import Manifest, until
from tests.cluster.stage import DOMAIN, IDENTITY, Stage, opened
from tests.cluster.witness import Witness, each_got_one_certificate
from troth.planning.owned_objects import policy_ref

AWAY = 2
"""Seconds that a busy API server asks for."""
TOO_BUSY = [
    pytest.param(429, "TooManyRequests", id="429"),
    pytest.param(503, "ServiceUnavailable", id="503"),
]


async def asked(path: FaultyPath, verb: str, resource: str, number: int) -> list[Call]:
    """Wait until something was asked so many times; return when."""

    async def calls() -> list[Call]:
        return [call for call in path.asked if (call.verb, call.resource) == (verb, resource)]

    return await until(calls, lambda found: len(found) >= number)


@pytest.mark.parametrize(("code", "reason"), TOO_BUSY)
async def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(
    stage: Stage, tmp_path: Path, code: int, reason: str
) -> None:
    """Once it has said so for one, no other is tried either, however many there are."""
    async with (
        faulty(stage, tmp_path) as path,
        Witness(stage.sandbox.kubeconfig, "Secret", stage.shop) as secrets,
    ):
        await stage.domain()
        await stage.run(path.kubeconfig)
        await stage.settled()
        path.asked.clear()
        path.always("PATCH", "secrets", faults.status(code, reason, retry_after=AWAY))
        refs = [await stage.identity("service-0")]
        await asked(path, "PATCH", "secrets", 1)
        refs += [await stage.identity(f"service-{number}") for number in range(1, 20)]
        first, second, *_ = await asked(path, "PATCH", "secrets", 2)
        assert second.at - first.at >= AWAY

        told = await stage.person.hears(
            IDENTITY, refs[0], "CertificateIssued", "WriteRefused", "False"
        )
        assert reason in told
        writes = Counter(call.path for call in path.asked if call.resource == "serviceidentities")
        assert max(writes.values()) <= 2, "it is said once, and not at every try"
        path.well()
        for ref in refs:
            await stage.person.ready(IDENTITY, ref)
        each_got_one_certificate(await secrets.everything(), len(refs))


@pytest.mark.parametrize(("code", "reason"), TOO_BUSY)
@pytest.mark.parametrize("verb", ["GET", "WATCH"])
async def test_a_server_too_busy_to_be_read_is_left_alone_and_nothing_is_written_meanwhile(
    stage: Stage, tmp_path: Path, verb: str, code: int, reason: str
) -> None:
    async with faulty(stage, tmp_path) as path:
        await stage.domain()
        await stage.run(path.kubeconfig)
        await stage.pair()
        await stage.settled()
        await stage.operator.stop()
        before = await stage.written()

        path.asked.clear()
        path.always(verb, "serviceidentities", faults.status(code, reason, retry_after=AWAY))
        copy = await stage.stand_by(path.kubeconfig)
        first, second, *_ = await asked(path, verb, "serviceidentities", 2)
        assert second.at - first.at >= AWAY
        assert copy.requests.writes.total() == 0
        path.well()
        await copy.acting()
        await copy.settled()
        assert await stage.written() == before


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        *TOO_BUSY,
        pytest.param(500, "InternalError", id="500"),
        pytest.param(409, "Conflict", id="409"),
    ],
)
async def test_a_server_that_refuses_without_a_word_is_asked_less_and_less(
    stage: Stage, tmp_path: Path, code: int, reason: str
) -> None:
    """Backoff is counted and not timed: an eager client would have asked hundreds of times."""
    async with faulty(stage, tmp_path) as path:
        await stage.domain()
        await stage.run(path.kubeconfig)
        await stage.settled()
        path.always("PATCH", "secrets", faults.status(code, reason))
        payments = await stage.identity("payments")
        await asked(path, "PATCH", "secrets", 3)
        await asyncio.sleep(2)
        assert len(await asked(path, "PATCH", "secrets", 3)) < 12
        path.well()
        await stage.person.ready(IDENTITY, payments)
        assert committed(path, "secrets", "payments-identity") == 1


@pytest.mark.parametrize("code", [409, 500, 503])
@pytest.mark.parametrize("resource", WRITTEN)
async def test_a_write_that_is_refused_once_is_made_once(
    stage: Stage, tmp_path: Path, resource: str, code: int
) -> None:
    async with (
        faulty(stage, tmp_path) as path,
        Witness(stage.sandbox.kubeconfig, "Secret", stage.shop) as secrets,
    ):
        await stage.run(path.kubeconfig)
        path.once("PATCH", resource, faults.status(code, "Conflict" if code == 409 else ""))
        domain = await stage.domain()
        await stage.pair()
        await stage.person.ready(DOMAIN, domain)
        await stage.settled()
        assert committed(path, "secrets", f"{domain.name}-authority") == 1
        each_got_one_certificate(await secrets.everything(), 2)
        stage.requests.clear()
        await stage.look_again()
        assert stage.requests.made == []


async def test_what_cannot_be_closed_yet_is_said_to_be_open(stage: Stage, tmp_path: Path) -> None:
    async with faulty(stage, tmp_path) as path:
        await stage.domain()
        await stage.run(path.kubeconfig)
        payments, _ = await stage.pair()
        path.always("PATCH", "networkpolicies", faults.status(503, "ServiceUnavailable"))
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        told = await stage.person.hears(
            IDENTITY, payments, "NetworkEnforced", "WriteRefused", "False"
        )
        assert "ServiceUnavailable" in told
        path.well()
        await stage.person.sees("NetworkPolicy", policy_ref(payments), closed)
        await stage.person.ready(IDENTITY, payments)


async def test_what_must_be_closed_is_closed_though_secrets_cannot_be_written(
    stage: Stage, tmp_path: Path
) -> None:
    async with faulty(stage, tmp_path) as path:
        await stage.domain()
        await stage.run(path.kubeconfig)
        payments, _ = await stage.pair()
        refused = faults.status(429, "TooManyRequests", retry_after=AWAY)
        path.always("PATCH", "secrets", refused)
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        await stage.person.sees("NetworkPolicy", policy_ref(payments), closed)
        path.well()
        await stage.person.ready(IDENTITY, payments)


# Late


async def test_a_slow_server_is_waited_for(stage: Stage, tmp_path: Path) -> None:
    async with (
        faulty(stage, tmp_path) as path,
        Witness(stage.sandbox.kubeconfig, "Secret", stage.shop) as secrets,
    ):
        await stage.run(path.kubeconfig)
        for resource in WRITTEN:
            path.always("PATCH", resource, faults.delayed(0.5))
        domain = await stage.domain()
        await stage.pair()
        root = f"/{domain.name}-authority"
        assert sum(call.path.endswith(root) for call in path.asked if call.writes) == 1
        each_got_one_certificate(await secrets.everything(), 2)


async def test_a_write_that_was_given_up_and_is_carried_out_all_the_same_is_not_made_again(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        faulty(stage, tmp_path) as path,
        Witness(stage.sandbox.kubeconfig, "Secret", stage.shop) as secrets,
    ):
        await stage.domain()
        await stage.run(path.kubeconfig)
        await stage.settled()
        monkeypatch.setattr("troth.cluster.api.REQUEST_TIMEOUT", aiohttp.ClientTimeout(total=0.5))
        path.once("PATCH", "secrets", faults.delayed(1.5))
        payments = await stage.identity("payments")
        await stage.person.ready(IDENTITY, payments)

        async def arrived() -> int:
            return sum(call.path.endswith("/payments-identity") for call, _ in path.log)

        await until(arrived, lambda number: number >= 2)
        await stage.settled()
        each_got_one_certificate(await secrets.everything(), 1)


def closed(policy: Manifest) -> bool:
    return not opened(policy, "ingress")
