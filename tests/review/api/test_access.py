"""The API server alone says who a caller is, and what the caller may do."""

import asyncio
import json
import time
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.patience import PATIENCE
from tests.review.api.desk import NOW, ORDERS, UNAVAILABLE, Cluster
from troth.cluster.concurrency import SHARE
from troth.cluster.errors import ApiError
from troth.cluster.reviews import AT_ONCE, REMEMBERED_FOR
from troth.pki.encodings import base64url
from troth.review.api.access import LONGEST_TOKEN, Access, User, Verb, bearer_token
from troth.review.api.problems import ProblemError, Reason

PEER = "192.0.2.1"
ALICE = User("alice", "7", ("people", "system:authenticated"), (("scopes", ("a", "b")),))


class Time:
    """Clocks of a test: of the day, and since the start."""

    def __init__(self) -> None:
        self.uptime = 0.0

    def access(self, cluster: Cluster, **options: Any) -> Access:
        return Access(
            cluster,
            uptime=lambda: self.uptime,
            now=lambda: NOW.timestamp() + self.uptime,
            **options,
        )


async def reason(call: Any) -> Reason:
    with pytest.raises(ProblemError) as caught:
        await call
    return caught.value.reason


def jwt(expires: float) -> str:
    claims = {"sub": "alice", "exp": int(expires)}
    return ".".join(base64url.encode(json.dumps(part).encode()) for part in ({}, claims, "s"))


def test_header_needs_exactly_one_bearer_token() -> None:
    assert bearer_token([b"Bearer abc.def-_~+/="]) == "abc.def-_~+/="
    assert bearer_token([b"bearer  abc"]) == "abc"
    for values in (
        [],
        [b""],
        [b"Bearer"],
        [b"Bearer "],
        [b"Basic abc"],
        [b"Bearer a b"],
        [b"Bearer a", b"Bearer a"],
        ["Bearer \u00e9".encode()],
        [b"Bearer a\r\nX: y"],
        [b"Bearer " + b"a" * (LONGEST_TOKEN + 1)],
    ):
        with pytest.raises(ProblemError) as caught:
            bearer_token(values)
        assert caught.value.reason is Reason.UNAUTHORIZED


async def test_token_review_names_the_user_with_groups_and_extra() -> None:
    cluster = Cluster()
    extra = {"scopes": ["a", "b"]}
    token = cluster.add("alice", uid="7", groups=list(ALICE.groups), extra=extra)
    assert await Time().access(cluster).user(token, PEER) == ALICE
    assert cluster.reviews("TokenReview") == [{"token": token}]


async def test_access_review_has_the_verb_groups_and_extra_of_the_user() -> None:
    cluster = Cluster(rights={"alice": {"payload"}})
    await Time().access(cluster).check(ALICE, ORDERS, Verb.PAYLOAD)
    assert cluster.reviews("SubjectAccessReview") == [
        {
            "user": "alice",
            "uid": "7",
            "groups": ["people", "system:authenticated"],
            "extra": {"scopes": ["a", "b"]},
            "resourceAttributes": {
                "group": "troth.dev",
                "resource": "topicpolicies",
                "subresource": "deadletters",
                "namespace": "shop",
                "name": "orders",
                "verb": "payload",
            },
        }
    ]


async def test_token_for_another_audience_is_rejected() -> None:
    cluster = Cluster()
    token = cluster.add("alice")
    access = Time().access(cluster, audience="troth-review")
    await access.user(token, PEER)
    assert cluster.reviews("TokenReview")[0]["audiences"] == ["troth-review"]
    user = {"username": "alice"}
    for audiences in (None, [], ["https://kubernetes.default.svc"], "troth-review and others"):
        cluster.answers["TokenReview"] = {
            "authenticated": True,
            "user": user,
            "audiences": audiences,
        }
        assert await reason(access.user("another", PEER)) is Reason.UNAUTHORIZED


@pytest.mark.parametrize(
    "status",
    [
        {},
        {"error": "invalid bearer token"},
        {"authenticated": False, "user": {"username": "alice"}},
        {"authenticated": "true", "user": {"username": "alice"}},
        {"authenticated": 1.5, "user": {"username": "alice"}},
        {"authenticated": True},
        {"authenticated": True, "user": {}},
        {"authenticated": True, "user": {"username": ""}},
        {"authenticated": True, "user": {"username": 7}},
    ],
)
async def test_every_other_token_review_is_a_rejection(status: Any) -> None:
    cluster = Cluster(answers={"TokenReview": status})
    assert await reason(Time().access(cluster).user("x", PEER)) is Reason.UNAUTHORIZED


@pytest.mark.parametrize(
    "user",
    [
        {"groups": "people"},
        {"groups": [7]},
        {"extra": {"a": "b"}},
        {"extra": ["a"]},
        {"uid": 7},
    ],
)
async def test_user_of_another_form_is_not_guessed(user: Any) -> None:
    answer = {"authenticated": True, "user": {"username": "alice"} | user}
    cluster = Cluster(answers={"TokenReview": answer})
    assert await reason(Time().access(cluster).user("x", PEER)) is Reason.UNAVAILABLE


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({"allowed": False}, Reason.FORBIDDEN),
        ({}, Reason.FORBIDDEN),
        ({"allowed": "true"}, Reason.FORBIDDEN),
        ({"allowed": True, "denied": True}, Reason.FORBIDDEN),
        (None, Reason.UNAVAILABLE),
        ("yes", Reason.UNAVAILABLE),
    ],
)
async def test_every_other_access_review_denies(status: Any, expected: Reason) -> None:
    cluster = Cluster(answers={"SubjectAccessReview": status})
    assert await reason(Time().access(cluster).check(ALICE, ORDERS, Verb.GET)) is expected


@pytest.mark.parametrize(
    "failure", [UNAVAILABLE, ApiError(403, "Forbidden", "no right to ask"), ApiError(500, "", "")]
)
async def test_missing_answer_shows_nothing(failure: ApiError) -> None:
    kinds = ("TokenReview", "SubjectAccessReview")
    access = Time().access(Cluster(failures=dict.fromkeys(kinds, failure)))
    assert await reason(access.user("x", PEER)) is Reason.UNAVAILABLE
    assert await reason(access.check(ALICE, ORDERS, Verb.LIST)) is Reason.UNAVAILABLE


async def test_slow_answer_times_out_and_no_token_is_logged() -> None:
    cluster = Cluster(before=lambda: asyncio.sleep(2 * PATIENCE))
    with capture_logs() as lines:
        async with asyncio.timeout(PATIENCE):
            access = Time().access(cluster, timeout=0.05)
            assert await reason(access.user("secret", PEER)) is Reason.UNAVAILABLE
    assert [each["reason"] for each in lines] == ["Timeout"]
    assert "secret" not in json.dumps(lines)


async def test_peer_has_a_share_of_the_reviews() -> None:
    gate = asyncio.Event()
    cluster = Cluster(before=gate.wait)
    share = AT_ONCE // SHARE
    tokens = [cluster.add(f"user-{number}") for number in range(share + 1)]
    access = Time().access(cluster)
    waiting = [asyncio.create_task(access.user(token, PEER)) for token in tokens[1:]]
    await asyncio.sleep(0)
    assert await reason(access.user("one more", PEER)) is Reason.UNAVAILABLE
    waiting.append(asyncio.create_task(access.user(tokens[0], "192.0.2.2")))
    gate.set()
    await asyncio.gather(*waiting)
    assert len(cluster.asked) == share + 1


async def test_positive_answers_are_cached_for_a_limited_time() -> None:
    cluster, clock = Cluster(), Time()
    token = cluster.add("alice", "list")
    access = clock.access(cluster)
    for uptime, asked in ((0.0, 2), (REMEMBERED_FOR - 0.1, 2), (REMEMBERED_FOR, 4)):
        clock.uptime = uptime
        await access.check(await access.user(token, PEER), ORDERS, Verb.LIST)
        assert len(cluster.asked) == asked


async def test_deleted_user_is_rejected_when_the_cached_answer_ends() -> None:
    cluster, clock = Cluster(), Time()
    token = cluster.add("alice")
    access = clock.access(cluster)
    await access.user(token, PEER)
    del cluster.users[token]
    clock.uptime = REMEMBERED_FOR
    assert await reason(access.user(token, PEER)) is Reason.UNAUTHORIZED


async def test_negative_answers_are_not_cached() -> None:
    cluster = Cluster(rights={"alice": set()})
    access = Time().access(cluster)
    assert await reason(access.user("token-of-alice", PEER)) is Reason.UNAUTHORIZED
    token = cluster.add("alice")
    user = await access.user(token, PEER)
    assert await reason(access.check(user, ORDERS, Verb.LIST)) is Reason.FORBIDDEN
    cluster.rights["alice"] = {"list"}
    await access.check(user, ORDERS, Verb.LIST)


async def test_right_is_cached_for_its_verb_policy_and_user_alone() -> None:
    cluster = Cluster(rights={"alice": {"list"}, "bob": set()})
    access = Time().access(cluster)
    await access.check(ALICE, ORDERS, Verb.LIST)
    assert await reason(access.check(ALICE, ORDERS, Verb.PAYLOAD)) is Reason.FORBIDDEN
    cluster.rights["alice"] = set()
    others = ORDERS._replace(name="payments")
    assert await reason(access.check(ALICE, others, Verb.LIST)) is Reason.FORBIDDEN
    same_name = User("alice", "8", (), ())
    assert await reason(access.check(same_name, ORDERS, Verb.LIST)) is Reason.FORBIDDEN


async def test_expired_token_is_rejected_without_a_review() -> None:
    cluster = Cluster()
    assert (
        await reason(Time().access(cluster).user(jwt(NOW.timestamp()), PEER)) is Reason.UNAUTHORIZED
    )
    assert cluster.asked == []


async def test_cached_answer_ends_with_the_tokens_expiry() -> None:
    cluster, clock = Cluster(), Time()
    token = jwt(NOW.timestamp() + 3)
    cluster.users[token] = {"username": "alice"}
    access = clock.access(cluster)
    await access.user(token, PEER)
    clock.uptime = 3.0
    assert await reason(access.user(token, PEER)) is Reason.UNAUTHORIZED


async def test_hostile_expiry_is_no_error() -> None:
    cluster = Cluster()
    for expires in ("10", None, True, 10**400, [1]):
        claims = json.dumps({"exp": expires}).encode()
        token = ".".join(base64url.encode(part) for part in (b"{}", claims, b"s"))
        cluster.users[token] = {"username": "alice"}
        assert (await Time().access(cluster).user(token, PEER)).name == "alice"


async def test_real_clock_is_the_default() -> None:
    cluster = Cluster()
    assert await reason(Access(cluster).user(jwt(time.time() - 1), PEER)) is Reason.UNAUTHORIZED
    assert cluster.asked == []
