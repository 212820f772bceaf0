"""The operator waits for CRDs that have every field, and ends if they become older."""

import asyncio
import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from structlog.testing import capture_logs

from tests.builders import Manifest
from tests.virtual_time import run
from troth.cluster.crds import CRDCheck, OutdatedCRDs
from troth.cluster.errors import ApiError
from troth.cluster.selection import Selection
from troth.resources.kinds import KINDS
from troth.resources.references import Ref

DOMAINS = "trustdomains.troth.dev"
CURRENT: dict[str, Manifest] = {
    f"{kind.plural}.troth.dev": yaml.load(
        (Path(__file__).parents[2] / "crds" / f"{kind.plural}.yaml").read_text(), yaml.CSafeLoader
    )
    for kind in KINDS
}
"""The CRDs of the kinds that the operator reads; the others may be older, or missing."""


def without_isolation() -> Manifest:
    older = copy.deepcopy(CURRENT[DOMAINS])
    schema: Any = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["isolation"]
    return older


@dataclass
class CRDServer:
    """Serves CRDs; `instead` has other answers for some of them."""

    instead: dict[str, Manifest | ApiError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def get(self, kind: str, ref: Ref) -> Manifest:
        assert kind == "CustomResourceDefinition"
        self.asked.append(ref.name)
        answer = self.instead.get(ref.name, CURRENT[ref.name])
        if isinstance(answer, ApiError):
            raise answer
        return answer


def test_current_crds_cost_one_read_each() -> None:
    async def story() -> None:
        server = CRDServer()
        check = CRDCheck(server)
        with capture_logs() as logged:
            await check.wait()
        assert sorted(server.asked) == sorted(CURRENT)
        assert logged == []
        assert not any(check.lacking.values())

    run(story())


@pytest.mark.parametrize(
    ("answer", "lacks"),
    [
        (without_isolation(), "spec.isolation"),
        (ApiError(404, "NotFound", ""), "the CRD itself"),
    ],
)
def test_older_crd_is_logged_once_with_the_field_and_the_command(
    answer: Manifest | ApiError, lacks: str
) -> None:
    async def story() -> None:
        server = CRDServer({DOMAINS: answer})
        check = CRDCheck(server)
        with capture_logs() as logged:
            waiting = asyncio.create_task(check.wait())
            await asyncio.sleep(120)
            assert not waiting.done()
            assert len(server.asked) < 30 * len(KINDS)
            assert check.lacking[DOMAINS] == (lacks,)
            (line,) = logged
            assert (line["crd"], line["lacks"]) == (DOMAINS, [lacks])
            assert line["run"] == "troth crds --apply"
            server.instead.clear()
            await waiting
        assert [each["event"] for each in logged[1:]] == ["CRD is up to date"]

    run(story())


def test_forbidden_check_is_logged_once_and_repeated() -> None:
    async def story() -> None:
        server = CRDServer({DOMAINS: ApiError(403, "Forbidden", "")})
        check = CRDCheck(server)
        with capture_logs() as logged:
            waiting = asyncio.create_task(check.wait())
            await asyncio.sleep(120)
            assert not waiting.done()
            (line,) = logged
            assert (line["crd"], "the right to get it" in line["event"]) == (DOMAINS, True)
            server.instead.clear()
            await waiting

    run(story())


def test_running_operator_asks_again_while_its_roles_are_not_known() -> None:
    """An API server that has just started answers 403 until it has read the roles."""

    async def story() -> None:
        server = CRDServer({DOMAINS: ApiError(403, "Forbidden", "")})
        confirming = asyncio.create_task(CRDCheck(server).confirm(Selection("TrustDomain")))
        await asyncio.sleep(60)
        assert not confirming.done()
        server.instead.clear()
        await confirming

    run(story())


def test_running_operator_ends_if_its_check_stays_forbidden() -> None:
    """A declaration that changes meanwhile would not be seen."""

    async def story() -> None:
        server = CRDServer({DOMAINS: ApiError(403, "Forbidden", "")})
        confirming = asyncio.create_task(CRDCheck(server).confirm(Selection("TrustDomain")))
        await asyncio.sleep(600)
        assert confirming.done()
        with pytest.raises(OutdatedCRDs, match=DOMAINS):
            await confirming

    run(story())


def test_unanswered_check_is_repeated() -> None:
    async def story() -> None:
        server = CRDServer({DOMAINS: ApiError(0, "TimeoutError", "")})
        check = CRDCheck(server)
        waiting = asyncio.create_task(check.wait())
        await asyncio.sleep(60)
        assert not waiting.done()
        server.instead.clear()
        await waiting

    run(story())


def test_watch_that_ends_because_its_crd_is_older_ends_the_operator() -> None:
    async def story() -> None:
        server = CRDServer()
        check = CRDCheck(server)
        await check.confirm(Selection("TrustDomain"))
        assert server.asked == [DOMAINS]
        await check.confirm(Selection("Secret"))
        assert server.asked == [DOMAINS]
        server.instead[DOMAINS] = without_isolation()
        with pytest.raises(OutdatedCRDs, match=DOMAINS):
            await check.confirm(Selection("TrustDomain"))

    run(story())
