"""TokenReview: the API server alone identifies a ServiceAccount token."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.issuer.builders import ISSUER
from tests.patience import PATIENCE
from troth.cluster.errors import ApiError
from troth.cluster.reviews import AT_ONCE, REMEMBERED, REMEMBERED_FOR
from troth.issuer.errors import Code, OAuthError
from troth.issuer.token_review import Account, Reviewer
from troth.pki.encodings import base64url

NOW = 1_800_000_000.0
Manifest = dict[str, Any]
GOOD: Manifest = {
    "authenticated": True,
    "audiences": [ISSUER],
    "user": {"username": "system:serviceaccount:shop:checkout"},
}


def token(name: str = "x", **claims: Any) -> str:
    said = {"aud": [ISSUER], "exp": int(NOW) + 600, "jti": name} | claims
    return ".".join(base64url.encode(json.dumps(part).encode()) for part in ({}, said, "signature"))


class Server:
    """API server that answers every review in the same way."""

    def __init__(self, answer: Any, uptime: float = 0.0) -> None:
        self.answer = answer
        self.asked: list[Manifest] = []
        self.uptime = uptime

    async def create(self, manifest: Manifest) -> Manifest:
        self.asked.append(manifest)
        if isinstance(self.answer, Exception):
            raise self.answer
        if callable(self.answer):
            await self.answer()
            return {"status": GOOD}
        return {**manifest, "status": self.answer}

    def reviewer(self, **options: Any) -> Reviewer:
        return Reviewer(self, uptime=lambda: self.uptime, now=lambda: NOW, **options)


async def refusal(reviewer: Reviewer, text: str) -> Code:
    with pytest.raises(OAuthError) as caught:
        await reviewer.account(text, ISSUER)
    return caught.value.code


async def test_api_server_identifies_the_account_of_a_token() -> None:
    server = Server(GOOD)
    account = await server.reviewer().account(token(), ISSUER)
    assert account == Account("shop", "checkout")
    assert server.asked[0]["spec"] == {"token": token(), "audiences": [ISSUER]}


@pytest.mark.parametrize(
    "answer",
    [
        {"error": "invalid bearer token"},
        {**GOOD, "authenticated": False},
        {**GOOD, "authenticated": "true"},
        {**GOOD, "authenticated": 1},
        {name: part for name, part in GOOD.items() if name != "audiences"},
        {**GOOD, "audiences": None},
        {**GOOD, "audiences": []},
        {**GOOD, "audiences": ["https://kubernetes.default.svc"]},
        {**GOOD, "audiences": f"{ISSUER} and others"},
        {**GOOD, "user": None},
        {**GOOD, "user": {"username": "admin"}},
        {**GOOD, "user": {"username": "system:serviceaccount:shop"}},
        {**GOOD, "user": {"username": "system:serviceaccount:shop:checkout:x"}},
        {**GOOD, "user": {"username": "xsystem:serviceaccount:shop:checkout"}},
    ],
)
async def test_every_other_answer_is_a_rejection(answer: Manifest) -> None:
    assert await refusal(Server(answer).reviewer(), token()) is Code.INVALID_GRANT


@pytest.mark.parametrize(
    "answer",
    [
        ApiError(403, "Forbidden", "no right to ask"),
        ApiError(429, "TooManyRequests", "later"),
        ApiError(500, "InternalError", "oh"),
        ApiError(0, "ClientConnectorError", "the API server cannot be reached"),
        None,
        "yes",
    ],
)
async def test_missing_answer_is_temporarily_unavailable(answer: Any) -> None:
    assert await refusal(Server(answer).reviewer(), token()) is Code.TEMPORARILY_UNAVAILABLE


async def test_slow_answer_times_out() -> None:
    server = Server(lambda: asyncio.sleep(2 * PATIENCE))
    with capture_logs() as lines:
        async with asyncio.timeout(PATIENCE):
            said = await refusal(server.reviewer(timeout=0.05), token())
    assert said is Code.TEMPORARILY_UNAVAILABLE
    assert lines[0]["reason"] == "Timeout"
    assert token() not in json.dumps(lines)


@pytest.mark.parametrize("most", [AT_ONCE, AT_ONCE // 4])
async def test_concurrent_reviews_are_limited(most: int) -> None:
    gate = asyncio.Event()
    answer: Callable[[], Awaitable[Any]] = gate.wait
    server = Server(answer)
    reviewer = server.reviewer(at_once=most)
    waiting = [
        asyncio.create_task(reviewer.account(token(str(number)), ISSUER)) for number in range(most)
    ]
    await asyncio.sleep(0)
    assert await refusal(reviewer, token("one more")) is Code.TEMPORARILY_UNAVAILABLE
    gate.set()
    await asyncio.gather(*waiting)
    assert len(server.asked) == most
    await reviewer.account(token("one more"), ISSUER)


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "a.b", "a.b.c", "a.b.c.d", "a.é.c"),
        token(aud="https://kubernetes.default.svc"),
        token(aud=["https://kubernetes.default.svc", f"{ISSUER}/"]),
        token(aud={ISSUER: True}),
        token(exp=int(NOW)),
        token(exp=None),
        token(exp=True),
        token(exp=f"{NOW}"),
        token(exp=10**400),
        token(exp=-(10**400)),
    ],
)
async def test_expired_or_foreign_token_is_rejected_without_a_review(
    text: str,
) -> None:
    server = Server(GOOD)
    assert await refusal(server.reviewer(), text) is Code.INVALID_GRANT
    assert server.asked == []


async def test_positive_answer_is_cached_for_a_limited_time() -> None:
    server = Server(GOOD)
    reviewer = server.reviewer()
    await reviewer.account(token(), ISSUER)
    server.uptime = REMEMBERED_FOR - 0.1
    await reviewer.account(token(), ISSUER)
    assert len(server.asked) == 1
    server.uptime = REMEMBERED_FOR
    await reviewer.account(token(), ISSUER)
    assert len(server.asked) == 2


async def test_cached_answer_ends_with_the_tokens_expiry() -> None:
    server = Server(GOOD)
    reviewer = server.reviewer()
    short = token(exp=int(NOW) + 3)
    await reviewer.account(short, ISSUER)
    server.uptime = 3.0
    server.answer = {**GOOD, "authenticated": False}
    assert await refusal(reviewer, short) is Code.INVALID_GRANT


async def test_negative_answer_is_not_cached() -> None:
    server = Server({"error": "not yet"})
    reviewer = server.reviewer()
    await refusal(reviewer, token())
    server.answer = GOOD
    assert await reviewer.account(token(), ISSUER) == Account("shop", "checkout")


async def test_cache_is_bounded_and_holds_no_token() -> None:
    server = Server(GOOD)
    reviewer = server.reviewer()
    for number in range(REMEMBERED + 10):
        await reviewer.account(token(str(number)), ISSUER)
    assert len(reviewer._known) == REMEMBERED
    assert all(isinstance(key, bytes) and len(key) == 32 for key in reviewer._known)
