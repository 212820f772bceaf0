"""Instructions and reports of probe pods: round trips, and reports that are not exact."""

import json
from dataclasses import replace

import pytest

from troth.documents.probes import (
    LONGEST,
    MOST,
    Instruction,
    Instructions,
    Outcome,
    PodReport,
    Seen,
    is_path,
    read_instructions,
    read_report,
)

ASKED = Instructions(
    "a-nonce",
    (
        Instruction("10.0.0.7", 8443),
        Instruction(
            "fd00::7",
            8443,
            request=True,
            server="spiffe://prod.example/ns/shop/sa/payments",
            roots="checkout",
            certificate="checkout",
            audience="payments",
            holder="batch",
            claimed="spiffe://prod.example/ns/shop/sa/checkout",
            path="/ping?x=1",
            passes=False,
        ),
    ),
)
REPORT = PodReport(
    "a-nonce", (Seen(Outcome.CONNECTED), Seen(Outcome.ANSWERED, 401, "token-missing")), True
)


def changed(**members: object) -> bytes:
    """Return the log of the report with other members; None removes one."""
    document = json.loads(REPORT.line) | members
    return json.dumps({name: each for name, each in document.items() if each is not None}).encode()


def test_instructions_are_read_as_written() -> None:
    assert read_instructions(ASKED.text) == ASKED


def test_report_is_read_as_written() -> None:
    log = f"a line before\n{REPORT.line}\n".encode()
    assert read_report(log, ASKED) == REPORT


def test_instructions_of_a_full_pod_fit_into_a_variable() -> None:
    name, spiffe_id = "n" * 253, "i" * 700
    longest = replace(
        ASKED.probes[1],
        server=spiffe_id,
        roots=name,
        certificate=name,
        audience=spiffe_id,
        holder=name,
        claimed=spiffe_id,
        path="/" * 255,
    )
    assert len(Instructions("n", (longest,) * MOST).text) < 128 * 1024


@pytest.mark.parametrize(
    "log",
    [
        b"",
        b"\xff\xfe",
        b"not JSON",
        b"[]",
        changed(nonce="another"),
        changed(nonce=None),
        changed(trothProbes=2),
        changed(trothProbes=True),
        changed(more="than asked"),
        changed(answered="yes"),
        changed(answered=1),
        changed(seen=[]),
        changed(seen=[["Connected", 0, ""]]),
        changed(seen=[["Connected", 0, ""]] * 3),
        changed(seen=[["Connected", 0, ""], ["Proven", 0, ""]]),
        changed(seen=[["Connected", 0, ""], ["Answered", 99, ""]]),
        changed(seen=[["Connected", 0, ""], ["Answered", 200.5, ""]]),
        changed(seen=[["Connected", 0, ""], ["Answered", True, ""]]),
        changed(seen=[["Connected", 0, ""], ["Answered", 200, "\x1b[2J"]]),
        changed(seen=[["Connected", 0, ""], ["Answered", 200, "x" * 49]]),
        changed(seen=[["Connected", 0, ""], ["Answered", 200, None]]),
        changed(seen=[["Connected", 0, ""], {"outcome": "Connected"}]),
        changed(seen=[["Connected", 0, ""], [["Connected"], 0, ""]]),
        REPORT.line.replace('"nonce"', '"nonce":"a-nonce","nonce"').encode(),
        REPORT.line.encode() + b"\nand more",
        b"[" * 100_000,
        b" " * LONGEST + REPORT.line.encode().replace(b",", b"," + b" " * LONGEST, 1),
    ],
)
def test_report_that_is_not_exact_counts_as_none(log: bytes) -> None:
    assert read_report(log, ASKED) is None


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("address", "payments.shop.svc"),
        ("port", "8443"),
        ("request", 1),
        ("path", "relative"),
        ("path", "/ HTTP/1.1\r\nHost: other"),
        ("certificate", "../../other"),
        ("holder", "a/b"),
        ("roots", ".."),
        ("unknown", ""),
    ],
)
def test_instructions_that_are_not_exact_are_rejected(member: str, value: object) -> None:
    document = json.loads(ASKED.text)
    document["probes"][1][member] = value
    with pytest.raises(ValueError, match=r"."):
        read_instructions(json.dumps(document))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"nonce":"n"}'])
def test_text_that_is_no_instructions_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_instructions(text)


def test_paths_have_no_spaces_and_no_other_origin() -> None:
    assert all(map(is_path, ("/", "/a/b?c=d", "/%20")))
    assert not any(map(is_path, ("", "a", "/a b", "/a\n", "/ä", "/a#b", "https://x/", "/" * 300)))
