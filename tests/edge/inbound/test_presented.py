"""Headers that say who somebody is do not reach the application, in no spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.edge.inbound.presented import Stripping

IDENTITY = [
    "X-Forwarded-Client-Cert",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Remote-User",
    "Remote-User",
    "X-User",
    "X-User-Id",
    "X-Userinfo",
    "X-Tenant",
    "X-Tenant-ID",
    "X-Auth-Request-User",
    "X-Auth-Request-Access-Token",
    "Txn-Token",
]
OTHERS = ["Host", "Accept", "Cookie", "X-Forwarded-For", "X-Request-Id", "traceparent", "Via"]


def seen(name: str, *, bearer: bool = False, also: tuple[str, ...] = ()) -> bool:
    headers = [(name.encode(), b"value")]
    stripping = Stripping(also)
    kept = stripping.read(headers, bearer=bearer).headers
    assert stripping.drops(name.encode(), bearer=bearer) is (not kept)
    return kept == headers


@given(st.sampled_from(IDENTITY), st.data())
def test_an_identity_header_is_taken_away_in_every_spelling(name: str, data: st.DataObject) -> None:
    spelled = "".join(
        data.draw(st.sampled_from("-_" if each == "-" else [each.lower(), each.upper()]))
        for each in name
    )
    assert not seen(spelled)


@pytest.mark.parametrize("name", OTHERS)
def test_other_headers_stay(name: str) -> None:
    assert seen(name)
    assert seen(name.lower())


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORI_ZATION"])
def test_authorization_is_the_applications_where_the_guard_does_not_use_it(name: str) -> None:
    assert seen(name, bearer=False)


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_a_token_that_the_guard_uses_is_taken_away(name: str) -> None:
    assert not seen(name, bearer=True)


def test_more_can_be_taken_away_and_nothing_given_back() -> None:
    assert not seen("x-roles", also=("X-Roles",))
    assert not seen("X_Roles", also=("X-Roles",))
    assert not seen("x-user", also=("X-Roles",))
    assert seen("x-roles")


def test_only_the_true_spelling_is_read() -> None:
    read = Stripping().read(
        [
            (b"Txn-Token", b"1"),
            (b"txn_token", b"2"),
            (b"TXN-TOKEN", b"3"),
            (b"x-forwarded-client-cert", b"4"),
            (b"x_forwarded_client_cert", b"5"),
            (b"authorization", b"6"),
            (b"traceparent", b"7"),
            (b"tracestate", b"8"),
        ],
        bearer=True,
    )
    assert read.transaction == [b"1", b"3"]
    assert read.forwarded == [b"4"]
    assert read.authorization == [b"6"]
    assert (read.parents, read.states) == ([b"7"], [b"8"])
    assert read.headers == [(b"traceparent", b"7"), (b"tracestate", b"8")]


def test_what_is_presented_shows_no_token() -> None:
    read = Stripping().read([(b"authorization", b"Bearer secret")], bearer=True)
    assert "secret" not in repr(read)


def test_names_without_end_take_no_memory_without_end() -> None:
    stripping = Stripping()
    for number in range(10_000):
        stripping.read([(f"x-{number}".encode(), b"")], bearer=False)
    assert len(stripping._kinds) <= 4096
    assert stripping.read([(b"X-User-7", b"")], bearer=False).headers == []
