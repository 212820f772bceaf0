"""Saved requests are read as a server reads them, and curl lines as a shell and curl do."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from troth.cli.webhook.curl import CurlError, read_curl, write_curl
from troth.cli.webhook.render import raw
from troth.cli.webhook.request import Given, NotARequestError, read_request
from troth.webhooks.schemes.delivery import Delivery

URL = "https://hooks.example.com/shop/x"
FORM = "application/x-www-form-urlencoded"


def refusal(text: bytes) -> str:
    with pytest.raises(NotARequestError) as raised:
        read_request(text)
    return str(raised.value)


# Raw HTTP


@pytest.mark.parametrize("line_break", [b"\n", b"\r\n"])
def test_request_is_read_with_either_line_break(line_break: bytes) -> None:
    text = line_break.join(
        (b"POST /a?b=%20 HTTP/1.1", b"X-A: \tb, c ", b"x-a:d", b"", b"body\r\n\n")
    )
    assert read_request(text) == Given(
        Delivery("POST", b"/a?b=%20", ((b"x-a", b"b, c"), (b"x-a", b"d")), b"body\r\n\n")
    )


def test_body_ends_at_its_content_length() -> None:
    head = b"POST / HTTP/1.1\nContent-Length: 4\n\n"
    assert read_request(head + b"body").notes == ()
    cut = read_request(head + b"body\r\n")
    assert (cut.delivery.body, len(cut.notes)) == (b"body", 1)
    for body in (b"bo", b"body and more"):
        changed = read_request(head + body)
        assert changed.delivery.body == body
        assert "saving the request changed it" in changed.notes[0]


def test_request_to_a_proxy_gives_its_url() -> None:
    given_ = read_request(f"POST {URL}?a=b HTTP/1.1\n\n".encode())
    assert (given_.url, given_.delivery.target) == (URL, b"/shop/x?a=b")
    assert read_request(b"POST http://a.example HTTP/1.1\n\n").delivery.target == b"/"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "first line"),
        (b'{"a": 1}', "first line"),
        (b"POST /a", "first line"),
        (b"post / HTTP/1.1\n\n", "first line"),
        (b"POST /a b HTTP/1.1\n\n", "first line"),
        (b"POST /\xff HTTP/1.1\n\n", "first line"),
        (b"HTTP/1.1 200 OK\n\n", "first line"),
        (b"POST / HTTP/1.1\nno header\n\n", "line 2"),
        (b"POST / HTTP/1.1\nA: b\n folded\n\n", "line 3"),
        (b"POST / HTTP/1.1\nA : b\n\n", "line 2"),
        (b"POST / HTTP/1.1\nA: b\0c\n\n", "line 2"),
        (b"POST / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", "line 2"),
        (b"POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n0\n\n", "chunked"),
        (b"POST / HTTP/1.1\nContent-Length: 1\nContent-Length: 2\n\n", "Content-Length"),
        (b"POST / HTTP/1.1\nContent-Length: +1\n\n", "Content-Length"),
    ],
)
def test_invalid_request_is_rejected(text: bytes, words: str) -> None:
    assert words in refusal(text)


def test_compressed_body_is_noted_as_rejected_by_a_gateway() -> None:
    given_ = read_request(b"POST / HTTP/1.1\nContent-Encoding: gzip\n\n\x1f\x8b")
    assert "Content-Encoding" in given_.notes[0]


# curl


@pytest.mark.parametrize(
    ("line", "method", "headers", "body"),
    [
        ("curl {url}", "GET", {}, ""),
        ("curl -X PUT {url}", "PUT", {}, ""),
        ("curl -XPUT --url {url}", "PUT", {}, ""),
        ("curl -d a=b -d c {url}", "POST", {"content-type": FORM}, "a=b&c"),
        ("curl --json '{{}}' {url}", "POST", {"content-type": "application/json"}, "{}"),
        ("curl --data-raw @a -H 'Content-Type: a/b' {url}", "POST", {"content-type": "a/b"}, "@a"),
        ("curl -sS -f --compressed {url} -H 'A: b: c' -m 5", "GET", {"a": "b: c"}, ""),
        ('curl \\\n  -H "A: \\"b\\" \\\\" \\\r\n {url}', "GET", {"a": '"b" \\'}, ""),
        ("curl -A me {url}", "GET", {"user-agent": "me"}, ""),
        ("  curl\t{url}\n", "GET", {}, ""),
        (
            "curl --data-binary 'a\nb' {url}",
            "POST",
            {"content-type": FORM},
            "a\nb",
        ),
    ],
)
def test_line_is_read_as_curl_reads_it(
    line: str, method: str, headers: dict[str, str], body: str
) -> None:
    read = read_curl(line.format(url=f"'{URL}?q=1&r'").encode())
    delivery = read.delivery
    assert (read.url, delivery.target) == (URL, b"/shop/x?q=1&r")
    assert (delivery.method, delivery.body.decode()) == (method, body)
    assert {name.decode(): value.decode() for name, value in delivery.headers} == headers


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("curl", "no URL"),
        (f"curl {URL} {URL}", "more than one"),
        ("curl ftp://a/b", "in full"),
        ("curl hooks.example.com", "in full"),
        (f"curl {URL}#a", "shell syntax"),
        (f"curl '{URL}#a'", "in full"),
        (f"curl -d @/etc/passwd {URL}", "--body FILE"),
        (f"curl --data-binary @a {URL}", "--body FILE"),
        (f"curl --json @a {URL}", "--body FILE"),
        (f"curl -d@a {URL}", "--body FILE"),
        (f"curl -H @a {URL}", "--header"),
        (f"curl -H 'A;' {URL}", "--header"),
        (f"curl -H 'A:' {URL}", "--header"),
        (f"curl -H 'A: €' {URL}", "--header"),
        (f"curl -H 'A: b\nC: d' {URL}", "--header"),
        (f"curl -X 'a b' {URL}", "--request"),
        (f"curl --request=PUT {URL}", "with that name"),
        (f"curl -K config {URL}", "-K"),
        (f"curl --config a {URL}", "--config"),
        (f"curl -F a=b {URL}", "-F"),
        (f"curl --data-urlencode a {URL}", "--data-urlencode"),
        (f"curl -T file {URL}", "-T"),
        (f"curl -u a:b {URL}", "-u"),
        (f"curl -sX {URL}", "-s"),
        (f"curl {URL} -H", "has no value"),
        (f"curl {URL} | sh", "shell syntax"),
        (f"curl {URL}; id", "shell syntax"),
        (f"curl {URL} && id", "shell syntax"),
        (f"curl {URL} > file", "shell syntax"),
        (f"curl {URL}\nid", "shell syntax"),
        (f"curl -d $(id) {URL}", "shell syntax"),
        (f"curl -d `id` {URL}", "shell syntax"),
        (f'curl -d "$HOME" {URL}', "shell syntax"),
        (f'curl -d "`id`" {URL}', "shell syntax"),
        (f"curl -d $'a' {URL}", "shell syntax"),
        (f"curl -d 'a {URL}", "shell syntax"),
        (f"curl -d a\\\nb {URL}", "shell syntax"),
        (f"curl {URL}/*", "shell syntax"),
        (f"curl {URL}/{{a,b}}", "shell syntax"),
    ],
)
def test_line_that_needs_a_shell_or_file_is_rejected(line: str, words: str) -> None:
    with pytest.raises(CurlError) as raised:
        read_curl(line.encode())
    assert words in str(raised.value)
    assert "/etc" not in str(raised.value)


def test_line_that_is_not_utf_8_is_rejected() -> None:
    assert "UTF-8" in refusal(b"curl '\xff'")


_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=30)


@given(_TEXT)
@example("a\nb")
@example("it's")
@example("@file")
@example("\\\n")
def test_written_line_is_read_as_the_same_delivery(body: str) -> None:
    delivery = Delivery(
        "POST", b"/shop/x?a=b", ((b"content-type", b'a/b; c="d\'"'),), body.encode()
    )
    read = read_curl(write_curl(delivery, URL).encode())
    assert (read.delivery, read.url) == (delivery, URL)


_WORD = st.text("ab'\"\\ \n$`@-", max_size=8).filter(lambda word: "\\\n" not in word)
"""Words without a backslash before a line break: a shell removes both, and shlex does not."""


@given(st.lists(_WORD, max_size=4), st.booleans())
def test_words_are_split_as_the_standard_library_does(words: list[str], quoted: bool) -> None:
    """Unquoted words may be rejected, because a shell expands most of them."""
    given_ = [shlex.quote(word) if quoted else word for word in words]
    line = " ".join(("curl", *(f"--data-raw {word}" for word in given_), URL))
    try:
        body = read_curl(line.encode()).delivery.body
    except CurlError:
        assert not quoted
        return
    split = iter(shlex.split(line))
    values = [next(split) for word in split if word == "--data-raw"]
    assert body.decode() == "&".join(values)


@given(_TEXT)
def test_double_quotes_are_read_as_a_shell_reads_them(text: str) -> None:
    line = f'curl -H "A: b" --data-raw "{text}" {URL}'
    try:
        body = read_curl(line.encode()).delivery.body
    except CurlError:
        return
    script = f'printf %s "{text}"'
    printed = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True).stdout
    assert body == printed


def test_command_opens_no_file_that_a_line_names(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("text")
    line = f"curl -d @{tmp_path / 'secret'} {URL}"
    command = [sys.executable, "-m", "troth.cli", "webhook", "verify", line, "-s", "GitHub"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert "files in a curl command are not opened" in " ".join(run.stderr.split())


@given(st.binary(max_size=30), st.sampled_from((b"/", b"/a?b", b"/%2F//")))
def test_written_request_is_read_as_the_same_delivery(body: bytes, target: bytes) -> None:
    delivery = Delivery("PUT", target, ((b"a", b"b"), (b"a", b"c \xe9")), body)
    read = read_request(raw(delivery, "a.example")).delivery
    assert (read.method, read.target, read.body) == ("PUT", target, body)
    assert [pair for pair in read.headers if pair[0] == b"a"] == list(delivery.headers)
