"""Identity headers in any spelling do not reach the application."""

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


def reaches_application(name: str, *, bearer: bool = False, also: tuple[str, ...] = ()) -> bool:
    headers = [(name.encode(), b"value")]
    stripping = Stripping(also)
    kept = stripping.read(headers, bearer=bearer).headers
    assert stripping.drops(name.encode(), bearer=bearer) is (not kept)
    return kept == headers


@given(st.sampled_from(IDENTITY), st.data())
def test_identity_header_is_stripped_in_every_spelling(name: str, data: st.DataObject) -> None:
    spelled = "".join(
        data.draw(st.sampled_from("-_" if each == "-" else [each.lower(), each.upper()]))
        for each in name
    )
    assert not reaches_application(spelled)


@pytest.mark.parametrize("name", OTHERS)
def test_other_headers_are_kept(name: str) -> None:
    assert reaches_application(name)
    assert reaches_application(name.lower())


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORI_ZATION"])
def test_authorization_is_kept_if_the_guard_does_not_use_it(name: str) -> None:
    assert reaches_application(name, bearer=False)


@pytest.mark.parametrize("name", ["Authorization", "authorization"])
def test_used_token_is_stripped(name: str) -> None:
    assert not reaches_application(name, bearer=True)


def test_additional_headers_can_be_stripped_and_none_restored() -> None:
    assert not reaches_application("x-roles", also=("X-Roles",))
    assert not reaches_application("X_Roles", also=("X-Roles",))
    assert not reaches_application("x-user", also=("X-Roles",))
    assert reaches_application("x-roles")


def test_only_the_canonical_spelling_is_read() -> None:
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


def test_repr_has_no_token() -> None:
    read = Stripping().read([(b"authorization", b"Bearer secret")], bearer=True)
    assert "secret" not in repr(read)


def test_header_name_cache_is_bounded() -> None:
    stripping = Stripping()
    for number in range(10_000):
        stripping.read([(f"x-{number}".encode(), b"")], bearer=False)
    assert len(stripping._kinds) <= 4096
    assert stripping.read([(b"X-User-7", b"")], bearer=False).headers == []
