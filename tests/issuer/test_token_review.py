"""TokenReview: the API server alone identifies a ServiceAccount token that the cluster signed."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.issuer.builders import ISSUER
from tests.patience import PATIENCE
from tests.pki.account_tokens import CLUSTER, discovery, jwk_set, signed
from troth.cluster.concurrency import SHARE
from troth.cluster.errors import ApiError
from troth.cluster.reviews import AT_ONCE, REMEMBERED_FOR, BriefCache
from troth.issuer.errors import Code, OAuthError
from troth.issuer.service_accounts.cluster_keys import DISCOVERY, KEY_SET, MAX_AGE, REREAD_AFTER
from troth.issuer.service_accounts.token_review import UNVERIFIED_AT_ONCE, Account, Reviewer

NOW = 1_800_000_000.0
PEER = "192.0.2.1"
Manifest = dict[str, Any]
GOOD: Manifest = {
    "authenticated": True,
    "audiences": [ISSUER],
    "user": {"username": "system:serviceaccount:shop:checkout"},
}


def token(name: str = "x", key: str = "current", **claims: Any) -> str:
    said = {"iss": CLUSTER, "aud": [ISSUER], "exp": int(NOW) + 600, "jti": name} | claims
    return signed(said, key)


class Server:
    """API server that answers every review in the same way."""

    def __init__(self, answer: Any, uptime: float = 0.0) -> None:
        self.answer = answer
        self.asked: list[Manifest] = []
        self.uptime = uptime
        self.published: Any = jwk_set("current")
        self.reads = 0

    async def document(self, name: str, path: str, accept: str) -> Manifest:
        del name, accept
        if isinstance(self.published, Exception):
            self.reads += 1
            raise self.published
        if path == DISCOVERY:
            self.reads += 1
            return discovery()
        assert path == KEY_SET
        return dict(self.published)

    async def create(self, manifest: Manifest) -> Manifest:
        self.asked.append(manifest)
        if isinstance(self.answer, Exception):
            raise self.answer
        if callable(self.answer):
            await self.answer()
            return {"status": GOOD}
        return {**manifest, "status": self.answer}

    def reviewer(self, **options: Any) -> Reviewer:
        given = {"timeout": PATIENCE, **options}
        return Reviewer(self, uptime=lambda: self.uptime, now=lambda: NOW, **given)


async def refusal(reviewer: Reviewer, text: str, peer: str = PEER) -> Code:
    with pytest.raises(OAuthError) as caught:
        await reviewer.account(text, ISSUER, peer)
    return caught.value.code


async def test_api_server_identifies_the_account_of_a_token() -> None:
    server = Server(GOOD)
    account = await server.reviewer().account(token(), ISSUER, PEER)
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
    assert [line["reason"] for line in lines if line["log_level"] == "warning"] == ["Timeout"]
    assert token() not in json.dumps(lines)


async def waiting(reviewer: Reviewer, *peers: str, of: int = 1) -> list[asyncio.Task[Account]]:
    """Return requests that wait for the API server: of each peer `of`, with different tokens."""
    tasks = [
        asyncio.create_task(reviewer.account(token(f"{peer}-{number}"), ISSUER, peer))
        for peer in peers
        for number in range(of)
    ]
    await asyncio.sleep(0)
    return tasks


@pytest.mark.parametrize("workers", [1, 4])
async def test_peer_has_a_share_of_the_reviews(workers: int) -> None:
    gate = asyncio.Event()
    answer: Callable[[], Awaitable[Any]] = gate.wait
    server = Server(answer)
    reviewer = server.reviewer(workers=workers)
    share = AT_ONCE // workers // SHARE
    tasks = await waiting(reviewer, "flood", of=share)
    for _ in range(3 * AT_ONCE):
        assert await refusal(reviewer, token("more"), "flood") is Code.TEMPORARILY_UNAVAILABLE
    tasks += await waiting(reviewer, "honest")
    gate.set()
    await asyncio.gather(*tasks)
    assert len(server.asked) == share + 1
    await reviewer.account(token("more"), ISSUER, "flood")


async def test_concurrent_reviews_are_limited_and_others_wait_for_their_turn() -> None:
    gate = asyncio.Event()
    answer: Callable[[], Awaitable[Any]] = gate.wait
    server = Server(answer)
    reviewer = server.reviewer()
    floods = [f"flood-{number}" for number in range(2 * SHARE)]
    tasks = await waiting(reviewer, *floods, of=AT_ONCE // SHARE)
    tasks += await waiting(reviewer, "honest")
    await asyncio.sleep(0)
    assert len(server.asked) == AT_ONCE
    gate.set()
    await asyncio.gather(*tasks)
    assert len(server.asked) == 2 * AT_ONCE + 1


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "a.b", "a.b.c", "a.b.c.d", "a.é.c"),
        token(key="another"),
        signed({"iss": CLUSTER, "aud": [ISSUER], "exp": int(NOW) + 600}, "another", "current"),
        token()[:-6] + "AAAAAA",
        token(aud="https://kubernetes.default.svc"),
        token(aud=["https://kubernetes.default.svc", f"{ISSUER}/"]),
        token(aud={ISSUER: True}),
        token(exp=int(NOW)),
        token(nbf=int(NOW) + 3600),
        token(nbf="now"),
        token(exp=None),
        token(exp=True),
        token(exp=f"{NOW}"),
        token(exp=10**400),
        token(exp=-(10**400)),
    ],
)
async def test_forged_expired_or_foreign_token_is_rejected_without_a_review(
    text: str,
) -> None:
    server = Server(GOOD)
    assert await refusal(server.reviewer(), text) is Code.INVALID_GRANT
    assert server.asked == []


async def test_positive_answer_is_cached_for_a_limited_time() -> None:
    server = Server(GOOD)
    reviewer = server.reviewer()
    await reviewer.account(token(), ISSUER, PEER)
    server.uptime = REMEMBERED_FOR - 0.1
    await reviewer.account(token(), ISSUER, PEER)
    assert len(server.asked) == 1
    server.uptime = REMEMBERED_FOR
    await reviewer.account(token(), ISSUER, PEER)
    assert len(server.asked) == 2


async def test_cached_answer_ends_with_the_tokens_expiry() -> None:
    server = Server(GOOD)
    reviewer = server.reviewer()
    short = token(exp=int(NOW) + 3)
    await reviewer.account(short, ISSUER, PEER)
    server.uptime = 3.0
    server.answer = {**GOOD, "authenticated": False}
    assert await refusal(reviewer, short) is Code.INVALID_GRANT


async def test_negative_answer_is_not_cached() -> None:
    server = Server({"error": "not yet"})
    reviewer = server.reviewer()
    await refusal(reviewer, token())
    server.answer = GOOD
    assert await reviewer.account(token(), ISSUER, PEER) == Account("shop", "checkout")


async def test_cache_is_bounded_and_holds_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    server = Server(GOOD)
    reviewer = server.reviewer()
    monkeypatch.setattr(reviewer, "_known", BriefCache(lambda: 0.0, most=10))
    for number in range(20):
        await reviewer.account(token(str(number)), ISSUER, PEER)
    assert len(reviewer._known) == 10
    assert all(isinstance(key, bytes) and len(key) == 32 for key in reviewer._known)


# The cluster's keys


async def test_unknown_key_is_looked_up_again_but_not_for_every_token() -> None:
    server = Server(GOOD)
    reviewer = server.reviewer()
    await reviewer.account(token(), ISSUER, PEER)
    server.published = jwk_set("next", "current")
    for number in range(100):
        assert await refusal(reviewer, token(f"{number}", "another")) is Code.INVALID_GRANT
    assert server.reads == 1
    server.uptime = REREAD_AFTER
    await reviewer.account(token(key="next"), ISSUER, PEER)
    for number in range(100):
        assert await refusal(reviewer, token(f"{number}", "another")) is Code.INVALID_GRANT
    assert server.reads == 2


async def test_keys_are_read_once_for_concurrent_requests_and_again_when_old() -> None:
    server = Server(GOOD)
    reviewer = server.reviewer()
    await asyncio.gather(*await waiting(reviewer, "a", "b", "c", of=4))
    assert server.reads == 1
    server.uptime = MAX_AGE - 1
    await reviewer.account(token("later"), ISSUER, PEER)
    assert server.reads == 1
    server.uptime = MAX_AGE
    await reviewer.account(token("later still"), ISSUER, PEER)
    assert server.reads == 2


UNREADABLE = [
    ApiError(403, "Forbidden", "no right"),
    ApiError(404, "NotFound", "the issuer is no https URL"),
    ApiError(503, "ServiceUnavailable", ""),
    {"keys": "none"},
    {"keys": []},
]


@pytest.mark.parametrize("published", UNREADABLE)
async def test_few_tokens_are_reviewed_while_the_keys_cannot_be_read(published: Any) -> None:
    gate = asyncio.Event()
    answer: Callable[[], Awaitable[Any]] = gate.wait
    server = Server(answer)
    server.published = published
    reviewer = server.reviewer()
    with capture_logs() as lines:
        tasks = await waiting(reviewer, *(f"peer-{number}" for number in range(AT_ONCE)))
        await asyncio.sleep(0)
        assert await refusal(reviewer, token("2"), "peer-0") is Code.TEMPORARILY_UNAVAILABLE
    assert len(server.asked) == UNVERIFIED_AT_ONCE
    assert [line["event"] for line in lines] == ["cluster keys unreadable"]
    assert reviewer.cluster_keys.readable is False
    gate.set()
    await asyncio.gather(*tasks)


async def test_known_keys_are_used_while_they_cannot_be_read_again() -> None:
    server = Server(GOOD)
    reviewer = server.reviewer()
    await reviewer.account(token(), ISSUER, PEER)
    server.uptime, server.published = MAX_AGE, ApiError(503, "ServiceUnavailable", "")
    forged = signed({"iss": CLUSTER, "aud": [ISSUER], "exp": int(NOW) + 9}, "another", "current")
    assert await refusal(reviewer, forged) is Code.INVALID_GRANT
    asked = len(server.asked)
    # a key that cannot be looked up may be a new one
    await reviewer.account(token(key="next"), ISSUER, PEER)
    assert len(server.asked) == asked + 1


async def test_token_of_a_previous_issuer_of_the_cluster_is_among_the_few() -> None:
    gate = asyncio.Event()
    answer: Callable[[], Awaitable[Any]] = gate.wait
    server = Server(answer)
    reviewer = server.reviewer()
    before = [token(f"{number}", iss="https://before.example") for number in range(2)]
    first = asyncio.create_task(reviewer.account(before[0], ISSUER, PEER))
    await asyncio.sleep(0)
    assert await refusal(reviewer, before[1]) is Code.TEMPORARILY_UNAVAILABLE
    gate.set()
    assert await first == Account("shop", "checkout")
