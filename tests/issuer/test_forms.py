"""Form parsing: one reading, or rejection."""

from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.issuer.errors import Code, OAuthError
from troth.issuer.forms import LONGEST, MOST, check_media_type, parse_form

texts = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\t\n\r"), max_size=30
)
names = texts.filter(bool)


def refusal(body: bytes) -> str:
    with pytest.raises(OAuthError) as caught:
        parse_form(body)
    assert caught.value.code is Code.INVALID_REQUEST
    return caught.value.description


def attempt(body: bytes) -> dict[str, str] | OAuthError:
    try:
        return parse_form(body)
    except OAuthError as error:
        return error


@given(st.dictionaries(names, texts, max_size=MOST))
def test_encoded_form_is_read_back(parameters: dict[str, str]) -> None:
    filled = {name: value for name, value in parameters.items() if value}
    assert parse_form(urlencode(parameters).encode()) == filled
    assert parse_form(urlencode(parameters, quote_via=quote).encode()) == filled


@given(st.binary(max_size=60) | st.text("a=&%+2f0", max_size=40).map(str.encode))
def test_any_body_is_read_as_the_standard_library_does_or_rejected(body: bytes) -> None:
    read = attempt(body)
    if isinstance(read, OAuthError):
        assert read.code is Code.INVALID_REQUEST
        assert not set(read.description) & {'"', "\\"}
        assert read.description.isascii()
        return
    theirs = parse_qsl(body.decode("ascii"), strict_parsing=bool(body), errors="strict")
    assert list(read.items()) == [(name, value) for name, value in theirs if value]


@pytest.mark.parametrize("body", [b"scope=a&scope=b", b"scope=a&scope=a", b"scope=a&%73cope=b"])
def test_repeated_parameter_is_rejected_in_every_encoding(body: bytes) -> None:
    assert refusal(body) == "the form has a parameter more than once"


def test_repeated_parameter_is_rejected_even_if_one_is_empty() -> None:
    assert "more than once" in refusal(b"scope=&scope=b")


def test_empty_parameter_counts_as_omitted() -> None:
    assert parse_form(b"scope=&audience=x") == {"audience": "x"}


@pytest.mark.parametrize(
    "body",
    [
        *(b"scope", b"=a", b"a=1&&b=2", b"a=1&", b"&a=1", b"a=%", b"a=%4", b"a=%zz", b"a=%u0041"),
        *(b"a= b", b"a=\xc3\xa9", b"a=\x00", b"a=%00", b"a=%1b", b"a=%C2%85", b"a=\r\nb"),
        *(b"a=%ff", b"a=%c0%af", b"a=%ed%a0%80", b"a=%F5%80%80%80"),
        b"a=" + b"x" * LONGEST,
        b"&".join(b"p%d=x" % number for number in range(MOST + 1)),
    ],
)
def test_ambiguous_form_is_rejected(body: bytes) -> None:
    refusal(body)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/x-www-form-urlencoded",
        "Application/X-WWW-Form-Urlencoded",
        "application/x-www-form-urlencoded; charset=UTF-8",
        "application/x-www-form-urlencoded;charset=utf-8",
    ],
)
def test_form_in_utf_8_is_accepted(content_type: str) -> None:
    check_media_type(content_type)


@pytest.mark.parametrize(
    "content_type",
    [
        *(None, "", "application/json", "multipart/form-data; boundary=x", "text/plain"),
        "application/x-www-form-urlencoded; charset=utf-7",
        "application/x-www-form-urlencoded, application/json",
        "application/x-www-form-urlencoded; charset=utf-8; charset=utf-16",
    ],
)
def test_other_media_type_is_rejected(content_type: str | None) -> None:
    with pytest.raises(OAuthError):
        check_media_type(content_type)
