"""An API server that rejects requests: it is busy or broken, or reports a conflict.

The operator respects Retry-After and otherwise backs off. Meanwhile the status says what is missing
and why. Afterwards all is as declared, and nothing was written twice.
"""

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from sandbox import faults
from sandbox.faults import Call, FaultyPath
from tests.cluster.paths import WRITTEN, committed, faulty, operated
from tests.cluster.person import until
from tests.cluster.stage import DOMAIN, IDENTITY, Stage
from tests.cluster.witness import Witness, each_got_one_certificate

AWAY = 1
"""Retry-After of a busy API server, in seconds."""
TOO_BUSY = [
    pytest.param(429, "TooManyRequests", id="429"),
    pytest.param(503, "ServiceUnavailable", id="503"),
]


async def wait_for_requests(path: FaultyPath, verb: str, resource: str, number: int) -> list[Call]:
    """Wait until a request was sent this many times; return when."""

    async def calls() -> list[Call]:
        return [call for call in path.asked if (call.verb, call.resource) == (verb, resource)]

    return await until(calls, lambda found: len(found) >= number)


@pytest.mark.parametrize(("code", "reason"), TOO_BUSY)
@pytest.mark.long
async def test_retry_after_of_a_busy_server_is_respected(
    stage: Stage, tmp_path: Path, code: int, reason: str
) -> None:
    """After one such answer no other request is sent either, however many are waiting."""
    async with (
        operated(stage, tmp_path) as path,
        Witness(stage.sandbox.kubeconfig, "Secret", stage.shop) as secrets,
    ):
        await stage.settled()
        path.asked.clear()
        path.always("PATCH", "secrets", faults.status(code, reason, retry_after=AWAY))
        refs = [await stage.identity("service-0")]
        await wait_for_requests(path, "PATCH", "secrets", 1)
        refs += [await stage.identity(f"service-{number}") for number in range(1, 20)]
        first, second, *_ = await wait_for_requests(path, "PATCH", "secrets", 2)
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
async def test_nothing_is_written_while_the_server_is_too_busy_to_list(
    stage: Stage, tmp_path: Path, verb: str, code: int, reason: str
) -> None:
    async with operated(stage, tmp_path) as path:
        await stage.pair()
        await stage.settled()
        await stage.operator.stop()
        before = await stage.written()

        path.asked.clear()
        path.always(verb, "serviceidentities", faults.status(code, reason, retry_after=AWAY))
        copy = await stage.stand_by(path.kubeconfig)
        first, second, *_ = await wait_for_requests(path, verb, "serviceidentities", 2)
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
async def test_rejected_writes_back_off(
    stage: Stage, tmp_path: Path, code: int, reason: str
) -> None:
    """The test counts requests instead of timing them: without backoff there would be hundreds."""
    async with operated(stage, tmp_path) as path:
        await stage.settled()
        path.always("PATCH", "secrets", faults.status(code, reason))
        payments = await stage.identity("payments")
        await wait_for_requests(path, "PATCH", "secrets", 3)
        await asyncio.sleep(1)
        assert len(await wait_for_requests(path, "PATCH", "secrets", 3)) < 7
        path.well()
        await stage.person.ready(IDENTITY, payments)
        assert committed(path, "secrets", "payments-identity") == 1


@pytest.mark.parametrize("code", [409, 500, 503])
@pytest.mark.parametrize("resource", WRITTEN)
async def test_write_that_is_rejected_once_is_made_once(
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


async def test_status_reports_a_policy_that_cannot_be_closed_yet(
    stage: Stage, tmp_path: Path
) -> None:
    async with operated(stage, tmp_path) as path:
        payments, _ = await stage.pair()
        path.always("PATCH", "networkpolicies", faults.status(503, "ServiceUnavailable"))
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        told = await stage.person.hears(
            IDENTITY, payments, "NetworkEnforced", "WriteRefused", "False"
        )
        assert "ServiceUnavailable" in told
        path.well()
        await stage.closes(payments)
        await stage.person.ready(IDENTITY, payments)


async def test_policy_closes_although_secrets_cannot_be_written(
    stage: Stage, tmp_path: Path
) -> None:
    async with operated(stage, tmp_path) as path:
        payments, _ = await stage.pair()
        refused = faults.status(429, "TooManyRequests", retry_after=AWAY)
        path.always("PATCH", "secrets", refused)
        await stage.identity("payments", ports=["https"])  # accepts nobody any more
        await stage.closes(payments)
        path.well()
        await stage.person.ready(IDENTITY, payments)


# Delays


async def test_slow_server_causes_no_second_write(stage: Stage, tmp_path: Path) -> None:
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


async def test_timed_out_write_that_succeeds_is_not_repeated(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        operated(stage, tmp_path) as path,
        Witness(stage.sandbox.kubeconfig, "Secret", stage.shop) as secrets,
    ):
        await stage.settled()
        monkeypatch.setattr("troth.cluster.api.REQUEST_TIMEOUT", aiohttp.ClientTimeout(total=0.5))
        late = asyncio.Event()
        path.once("PATCH", "secrets", faults.held(late))
        payments = await stage.identity("payments")
        await stage.person.ready(IDENTITY, payments)  # with the next write

        async def arrived() -> int:
            return sum(call.path.endswith("/payments-identity") for call, _ in path.log)

        late.set()
        await until(arrived, lambda number: number >= 2)
        await stage.settled()
        each_got_one_certificate(await secrets.everything(), 1)
