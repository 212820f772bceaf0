"""`troth webhook` reports which check of a delivery failed and why, and never prints a secret."""

import base64
import hashlib
import hmac
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.cli.webhooks import (
    BODY,
    NOW,
    SECRET,
    SIGNED,
    TOPIC,
    URL,
    WHSEC,
    delivery,
    options,
    signing,
    text_of,
    troth,
    verified,
)
from tests.webhook_builders import endpoint, issued, outbound
from troth.cli.webhook.diagnosis import KeyText
from troth.cli.webhook.render import raw
from troth.cli.webhook.verify import VerifyInput, judge
from troth.resources.faults import FaultyManifests
from troth.resources.manifests import Manifest, dump
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.registry import scheme_for

GITHUB, STRIPE, STANDARD = SchemeName.GITHUB, SchemeName.STRIPE, SchemeName.STANDARD_WEBHOOKS
TIMED = [each for each in SIGNED if scheme_for(signing(each)).signs_timestamp]


def document(
    folder: Path, scheme: SchemeName, of: Delivery, *more: str, text: bytes = b""
) -> dict[str, Any]:
    result = verified(folder, scheme, of, "-o", "json", *more, text=text)
    told: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if told["accepted"] else 1)
    return told


def answers(told: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["answer"] for check in told["checks"]}


def hint(told: dict[str, Any]) -> str:
    (found,) = told["hints"]
    assert isinstance(found, str)
    return found


# Verify


@pytest.mark.parametrize("scheme", SIGNED)
def test_valid_delivery_passes_every_check(tmp_path: Path, scheme: SchemeName) -> None:
    told = document(tmp_path, scheme, delivery(scheme))
    assert told["accepted"] is True
    assert set(answers(told).values()) == {"passed"}
    assert told["says"]["key"] == "k1"
    assert "hints" not in told or told["hints"] == []


@pytest.mark.parametrize("scheme", SIGNED)
def test_wrong_key_is_reported_and_exits_with_1(tmp_path: Path, scheme: SchemeName) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    others = {
        SchemeName.DISCORD: pem,
        SchemeName.HTTP_SIGNATURES: pem,
        STANDARD: b"whsec_" + base64.b64encode(b"0" * 32),
    }
    others |= dict.fromkeys((SchemeName.GITLAB, STRIPE), others[STANDARD])
    others[SchemeName.PADDLE] = text_of(SchemeName.PADDLE).replace(b"WvRO", b"XvRO")
    if scheme is SchemeName.SNS:
        pytest.skip("its key is no text that could be another")
    other = others.get(scheme, b"another secret of some length")
    told = document(tmp_path, scheme, delivery(scheme), text=other)
    assert told["codes"] == ["signature-wrong"]
    assert "the key is probably wrong" in hint(told)
    assert told["says"] == {}


@pytest.mark.parametrize("scheme", TIMED)
def test_old_delivery_is_checked_completely(tmp_path: Path, scheme: SchemeName) -> None:
    told = document(tmp_path, scheme, delivery(scheme), "--at", str(NOW + 3600))
    assert told["codes"] == ["timestamp-too-old"]
    assert {name for name, answer in answers(told).items() if answer != "passed"} == {"time"}
    (check,) = [each for each in told["checks"] if each["name"] == "time"]
    assert "signed 60m ago" in check["sentence"]
    assert "--at 2023-11-14T22:13:20Z" in check["sentence"]


@pytest.mark.parametrize("scheme", TIMED)
def test_wrong_signature_is_reported_beside_an_old_timestamp(
    tmp_path: Path, scheme: SchemeName
) -> None:
    """Schemes check the time first; the order of the reported checks relies on this."""
    good = delivery(scheme)
    stale = replace(good, body=good.body.replace(b"evt_1", b"evt_2"))
    wrong = "content-changed" if scheme is SchemeName.HTTP_SIGNATURES else "signature-wrong"
    told = document(tmp_path, scheme, stale, "--at", str(NOW + 3600))
    assert told["codes"] == ["timestamp-too-old", wrong]
    of = scheme_for(signing(scheme))
    key = of.key("k", text_of(scheme))
    with pytest.raises(RefusedError) as raised:
        of.verify(stale, [key], NOW + 3600, 300)
    assert raised.value.reason is Reason.TIMESTAMP_TOO_OLD


@pytest.mark.parametrize(
    ("scheme", "change", "code", "untold"),
    [
        (GITHUB, lambda each: replace(each, headers=()), "signature-missing", {"signature"}),
        (
            STRIPE,
            lambda each: each.with_headers([("stripe-signature", "t=a,v1=b")]),
            "signature-malformed",
            {"time", "signature"},
        ),
        (
            STRIPE,
            lambda each: replace(each, headers=(*each.headers, *each.headers)),
            "header-repeated",
            {"time", "signature"},
        ),
        (
            SchemeName.HTTP_SIGNATURES,
            lambda each: replace(each, body=b""),
            "content-changed",
            set[str](),
        ),
        (
            SchemeName.SNS,
            lambda each: replace(each, body=b"{}"),
            "body-malformed",
            {"sender", "time", "form", "signature"},
        ),
        (
            SchemeName.TWILIO,
            lambda each: replace(each, target=b"/shop/x"),
            "not-covered",
            {"body", "signature"},
        ),
    ],
)
def test_first_failed_check_leaves_the_rest_untold(
    tmp_path: Path,
    scheme: SchemeName,
    change: Callable[[Delivery], Delivery],
    code: str,
    untold: set[str],
) -> None:
    told = document(tmp_path, scheme, change(delivery(scheme)))
    assert told["codes"] == [code]
    assert {name for name, answer in answers(told).items() if answer == "untold"} == untold


def test_ping_is_shown_as_answered_at_once(tmp_path: Path) -> None:
    told = document(tmp_path, SchemeName.DISCORD, delivery(SchemeName.DISCORD, b'{"type": 1}'))
    assert "at once" in told["says"]["answered"]


def test_missing_certificate_is_reported_with_its_url() -> None:
    of = raw(delivery(SchemeName.SNS), "a.example")
    told = troth("verify", "-s", "SNS", "--topic", TOPIC, "--at", str(NOW), given=of)
    words = " ".join(told.stdout.split())
    assert "Download it from https://sns.us-west-2.amazonaws.com/SimpleNotificationService" in words
    assert told.exit_code == 1


def test_unusable_key_is_reported_and_the_others_are_tried(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("short")
    told = document(tmp_path, GITHUB, delivery(GITHUB), "--key", f"bad={tmp_path / 'bad'}")
    assert told["accepted"] is True
    assert "key-unusable" in {check.get("code") for check in told["checks"]}
    result = troth("verify", "-s", "GitHub", given=raw(delivery(GITHUB), "a"))
    assert "name its file with --key" in " ".join(result.stdout.split())
    assert "The scheme can use none of the keys" in " ".join(result.stdout.split())


# Hints on a wrong signature


@pytest.mark.parametrize(
    "scheme", [GITHUB, STANDARD, SchemeName.DISCORD, SchemeName.HTTP_SIGNATURES]
)
@pytest.mark.parametrize(
    ("sent", "given", "words"),
    [
        (b'{"a": 1}', b'{"a": 1}\n', "without the line break at its end"),
        (b'{"a": 1}\n', b'{"a": 1}', "with a line break at its end"),
        (b'{"a":1}', b'{"a": 1}', "as reformatted JSON, without spaces"),
        (b'{"a": 1}', b'{\n  "a": 1\n}', "as reformatted JSON, with spaces"),
        (b'{\n  "a": 1\n}', b'{"a":1}', "with two spaces before each line"),
        (b'{"a":"\\u00e9"}', '{"a":"é"}'.encode(), "with non-ASCII characters escaped"),
        (b'{"a":\r\n1}', b'{"a":\n1}', "with CRLF for each LF"),
        ('{"a":"é"}'.encode(), '{"a":"Ã©"}'.encode(), "decoded from UTF-8 a second time"),
    ],
)
def test_changed_body_is_recognised(
    tmp_path: Path, scheme: SchemeName, sent: bytes, given: bytes, words: str
) -> None:
    told = document(tmp_path, scheme, replace(delivery(scheme, sent), body=given))
    assert any(words in each for each in told["hints"])


def test_body_that_was_already_consumed_is_recognised(tmp_path: Path) -> None:
    told = document(tmp_path, GITHUB, replace(delivery(GITHUB, b""), body=b"{}"))
    assert "the sender signed an empty body" in told["hints"][-1]


@pytest.mark.parametrize("scheme", [each for each in SIGNED if each is not SchemeName.SNS])
def test_delivery_of_another_scheme_is_recognised(tmp_path: Path, scheme: SchemeName) -> None:
    asked = GITHUB if scheme is not GITHUB else SchemeName.BITBUCKET
    told = document(tmp_path, asked, delivery(scheme), text=text_of(scheme))
    assert any(f"valid for the scheme {scheme}" in each for each in told["hints"])


def test_headers_of_another_scheme_are_recognised_without_its_key(tmp_path: Path) -> None:
    told = document(tmp_path, SchemeName.BITBUCKET, delivery(GITHUB), text=b"x" * 20)
    assert hint(told) == "The request has the headers of the scheme GitHub."


def mac_of(secret: bytes, signed: bytes, digest: str = "sha256") -> str:
    return hmac.new(secret, signed, digest).hexdigest()


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (SECRET + b"\n", "the secret with the line break of its file"),
        (base64.b64encode(SECRET), "the base64-encoded secret"),
    ],
)
def test_secret_used_in_another_encoding_is_recognised(
    tmp_path: Path, secret: bytes, words: str
) -> None:
    header = ("x-hub-signature-256", f"sha256={mac_of(secret, BODY)}")
    told = document(tmp_path, GITHUB, delivery(GITHUB).with_headers([header]))
    assert f"keyed with {words}" in hint(told)


def test_secret_that_should_have_been_decoded_is_recognised(tmp_path: Path) -> None:
    for how, text in (("base64", base64.b64encode(SECRET)), ("hex", SECRET.hex().encode())):
        header = ("x-hub-signature-256", f"sha256={mac_of(SECRET, BODY)}")
        told = document(tmp_path, GITHUB, delivery(GITHUB).with_headers([header]), text=text)
        assert f"keyed with the {how}-decoded secret" in hint(told)


def test_another_signed_layout_and_another_digest_are_recognised(tmp_path: Path) -> None:
    signed = f"{NOW}:".encode() + BODY
    of = delivery(STRIPE).with_headers(
        [("stripe-signature", f"t={NOW},v1={mac_of(WHSEC, signed)}")]
    )
    assert "the HMAC-SHA256 of the time, ':' and the body" in hint(document(tmp_path, STRIPE, of))
    digest = hmac.new(SECRET, BODY, hashlib.sha1).hexdigest()
    of = delivery(GITHUB).with_headers([("x-hub-signature-256", f"sha256={digest}")])
    told = document(tmp_path, GITHUB, of)
    assert told["codes"] == ["signature-malformed"]


@pytest.mark.parametrize(
    ("signed", "given"),
    [
        (f"{URL}/", URL),
        (URL.replace("https", "http"), URL),
        ("https://other.example/shop/x", URL),
    ],
)
@pytest.mark.parametrize("scheme", [SchemeName.TWILIO, SchemeName.SQUARE])
def test_another_url_is_recognised(
    tmp_path: Path, scheme: SchemeName, signed: str, given: str
) -> None:
    of = raw(delivery(scheme, url=signed), "other.example")
    told = troth("verify", *options(tmp_path, scheme), "-o", "json", "--at", str(NOW), given=of)
    assert hint(json.loads(told.stdout)).startswith(f"The signature matches the URL {signed}:")


def test_swapped_keys_are_recognised(tmp_path: Path) -> None:
    scheme = SchemeName.HTTP_SIGNATURES
    other = b"hmac-sha256:" + base64.b64encode(bytes(32))
    (tmp_path / "other").write_bytes(other)
    told = document(tmp_path, scheme, delivery(scheme), "--key", f"k={tmp_path / 'other'}")
    assert hint(told) == (
        "The key k1 made the signature, but its keyid names another key: they are swapped."
    )


# Never printed


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize("scheme", SIGNED)
def test_secret_and_expected_signature_are_never_printed(
    tmp_path: Path, scheme: SchemeName, output: str
) -> None:
    good = delivery(scheme)
    right = {value.decode() for _, value in good.headers if len(value) > 30}
    for body in (BODY, BODY + b"\n", b"other", b""):
        of = replace(delivery(scheme, b"to be signed"), body=body)
        printed = verified(tmp_path, scheme, of, "-o", output).output
        assert text_of(scheme).decode()[10:40] not in printed
        for value in right:
            assert value not in printed


def test_control_characters_of_a_delivery_are_not_printed(tmp_path: Path) -> None:
    of = delivery(GITHUB).with_headers([("x-github-delivery", "a[red]b")])
    dangerous = replace(of, headers=(*of.headers, (b"x-request-id", b"\x1b]0;owned\x07")))
    printed = troth(
        "verify", *options(tmp_path, GITHUB), given=raw(dangerous, "a").replace(b"\r\n", b"\n")
    )
    assert not set("\x1b\x07") & set(printed.output)
    result = verified(tmp_path, GITHUB, of)
    assert "a[red]b" in result.stdout


# Sign


@pytest.mark.parametrize("scheme", SIGNED)
@pytest.mark.parametrize("output", ["curl", "http"])
def test_signed_delivery_verifies(tmp_path: Path, scheme: SchemeName, output: str) -> None:
    (tmp_path / "body").write_bytes(BODY + b"\n")
    given = [*options(tmp_path, scheme), "--body", str(tmp_path / "body"), "-o", output]
    result = troth("sign", *given, "--at", str(NOW), "--id", "delivery-7")
    assert result.exit_code == 0, result.exception
    text = result.stdout_bytes
    told = troth("verify", *options(tmp_path, scheme), "--at", str(NOW), given=text)
    assert told.exit_code == 0, told.stdout
    assert b"hooks.example.com" in text


def test_shell_reads_the_printed_line_correctly(tmp_path: Path) -> None:
    body = """{"a": "it's $HOME `x` \\n é"}\n""".encode()
    (tmp_path / "body").write_bytes(body)
    given = [*options(tmp_path, GITHUB), "--body", str(tmp_path / "body")]
    line = troth("sign", *given).stdout
    told = troth("verify", line.strip(), *options(tmp_path, GITHUB), "-o", "json")
    assert json.loads(told.stdout)["body"]["sha256"] == hashlib.sha256(body).hexdigest()


def on_a_terminal(*arguments: str, given: bytes) -> bytes:
    """Return the output of `troth webhook sign` on a terminal."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "troth.cli", "webhook", "sign", *arguments]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=theirs, stderr=theirs) as made:
            made.communicate(given, 60)
        os.set_blocking(ours, False)
        return os.read(ours, 65536)
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("output", ["curl", "http"])
@pytest.mark.parametrize("said", [b"\x1b]0;owned\x07", b"a\rb", "\x9b2J".encode()])
def test_control_characters_of_a_body_are_not_printed(
    tmp_path: Path, output: str, said: bytes
) -> None:
    given = [*options(tmp_path, GITHUB), "-o", output]
    of = b"POST /shop/x HTTP/1.1\r\nHost: hooks.example.com\r\n\r\n" + said
    seen = on_a_terminal("-", *given, given=of)
    assert said not in seen
    assert b"write the output to a" in b" ".join(seen.split())
    assert troth("sign", "-", *given, given=of).exit_code == 0


def test_other_text_is_printed_unchanged_on_a_terminal(tmp_path: Path) -> None:
    of = b"POST /shop/x HTTP/1.1\r\nHost: hooks.example.com\r\n\r\n" + "Ämter".encode()
    seen = on_a_terminal("-", *options(tmp_path, GITHUB), "-o", "http", given=of)
    assert "Ämter".encode() in seen


def test_sign_prints_headers_or_json(tmp_path: Path) -> None:
    given = [*options(tmp_path, GITHUB), "--at", str(NOW)]
    of = raw(Delivery("POST", b"/shop/x?a=b", (), BODY), "a.example")
    headers = troth("sign", "-", *given, "-o", "headers", given=of).stdout
    assert f"x-hub-signature-256: sha256={mac_of(SECRET, BODY)}" in headers.splitlines()
    told = json.loads(troth("sign", "-", *given, "-o", "json", given=of).stdout)
    assert told["url"] == f"{URL}?a=b"
    assert told["body"] == BODY.decode()


def test_described_hmac_is_signed_and_verified(tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(SECRET)
    (tmp_path / "body").write_bytes(BODY)
    hmacs = ("header=X-Sig", "signed={timestamp}.{url}.{body}", "timestampHeader=X-Time")
    given = ["-s", "HMAC", "-k", str(tmp_path / "k"), "--url", URL]
    given += [word for each in hmacs for word in ("--hmac", each)]
    line = troth("sign", *given, "--body", str(tmp_path / "body")).stdout
    assert troth("verify", *given, given=line).exit_code == 0
    other = [word.replace("X-Time", "X-Other") for word in given]
    assert troth("verify", *other, given=line).exit_code == 1


# A manifest


def manifest(folder: Path, *declared: Manifest) -> str:
    file = folder / "endpoint.yaml"
    file.write_text("---\n".join(map(dump, declared)))
    return str(file)


def test_manifest_gives_the_scheme(tmp_path: Path) -> None:
    scheme = SchemeName.TWILIO
    declared = issued("Twilio", publicURL=URL, tolerance="90s")
    (tmp_path / "k").write_bytes(text_of(scheme))
    given = ["-f", manifest(tmp_path, declared), "-k", str(tmp_path / "k")]
    of = raw(delivery(scheme), "a.example")
    assert troth("verify", *given, given=of).exit_code == 0
    elsewhere = [*given[:1], manifest(tmp_path, issued("Twilio")), *given[2:]]
    assert troth("verify", *elsewhere, given=of).exit_code == 1


def test_manifest_gives_the_hmac_description_and_the_tolerance(tmp_path: Path) -> None:
    described = {
        "header": "X-Sig",
        "signed": "{timestamp}.{body}",
        "digest": "SHA512",
        "encoding": "Base64",
        "timestampHeader": "X-Time",
    }
    declared = endpoint(scheme="HMAC", hmac=described, tolerance="90s", publicURL=URL)
    (tmp_path / "k").write_bytes(SECRET)
    (tmp_path / "body").write_bytes(BODY)
    given = ["-f", manifest(tmp_path, declared), "-k", str(tmp_path / "k")]
    line = troth("sign", *given, "--body", str(tmp_path / "body"), "--at", str(NOW)).stdout
    assert URL in line
    for later, code in ((90, 0), (91, 1)):
        at = ("--at", str(NOW + later))
        assert troth("verify", *given, *at, given=line).exit_code == code
    wider = ("--at", str(NOW + 91), "--tolerance", "2m")
    assert troth("verify", *given, *wider, given=line).exit_code == 0


def test_manifest_gives_topics_and_components(tmp_path: Path) -> None:
    sns = endpoint(scheme="SNS", sns={"topicARNs": [TOPIC]})
    (tmp_path / "k").write_bytes(text_of(SchemeName.SNS))
    key = ["-k", str(tmp_path / "k"), "--at", str(NOW)]
    of = raw(delivery(SchemeName.SNS), "a.example")
    assert troth("verify", "-f", manifest(tmp_path, sns), *key, given=of).exit_code == 0
    more = issued("HTTPSignatures", publicURL=URL, httpSignatures={"components": ["x-event"]})
    (tmp_path / "k").write_bytes(text_of(SchemeName.HTTP_SIGNATURES))
    of = raw(delivery(SchemeName.HTTP_SIGNATURES), "a.example")
    told = troth("verify", "-f", manifest(tmp_path, more), *key, "-o", "json", given=of)
    assert json.loads(told.stdout)["codes"] == ["not-covered"]


def test_manifest_needs_exactly_one_inbound_endpoint(tmp_path: Path) -> None:
    for declared, sentence in (
        ((), "0 WebhookEndpoints"),
        ((issued(), issued(name="other")), "2 WebhookEndpoints"),
        ((outbound(),), "outbound"),
    ):
        told = troth("verify", "-f", manifest(tmp_path, *declared), given=b"POST / HTTP/1.1\n\n")
        assert sentence in str(told.exception)
    both = ("-f", manifest(tmp_path, issued()), "-s", "GitHub")
    assert "omit the options" in str(troth("verify", *both, given=b"POST / HTTP/1.1\n\n").exception)


# Errors


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "--scheme: required"),
        (["-s", "Twilio"], "signs the URL"),
        (["-s", "GitHub", "--topic", "a"], "only for it"),
        (["-s", "HMAC"], "required for the scheme HMAC"),
        (["-s", "GitHub", "--hmac", "header=a"], "only for it"),
        (["-s", "HMAC", "--hmac", "haeder=a"], "header: required"),
        (["-s", "HMAC", "--hmac", "header=a", "--hmac", "digest=MD5"], "digest"),
        (["-s", "HMAC", "--hmac", "header=a", "--hmac", "signed={x}"], "braces"),
        (["-s", "SNS"], "ARN"),
        (["-s", "HTTPSignatures", "--url", "nowhere"], "https://host/path"),
        (["-s", "GitHub", "--key", "nowhere"], "No such file"),
        (["-s", "GitHub", "--key", "/dev/zero"], "larger than"),
        (["-s", "GitHub", "--body", "nowhere"], "No such file"),
    ],
)
def test_missing_option_or_file_is_named(arguments: list[str], sentence: str) -> None:
    result = troth("verify", *arguments, given=b"POST / HTTP/1.1\n\n")
    assert isinstance(result.exception, FaultyManifests)
    assert sentence in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--at", "yesterday"], "--at"),
        (["--at", "9" * 30], "--at"),
        (["--tolerance", "long"], "--tolerance"),
        (["--scheme", "None"], "--scheme"),
    ],
)
def test_invalid_time_and_unknown_scheme_are_rejected(arguments: list[str], sentence: str) -> None:
    result = troth("verify", "-s", "GitHub", *arguments, given=b"POST / HTTP/1.1\n\n")
    assert result.exit_code == 2
    assert sentence in result.stderr


@pytest.mark.parametrize("key", [SECRET.decode(), f"k1={SECRET.decode()}", WHSEC.decode()])
def test_secret_on_the_command_line_is_rejected_and_not_quoted(key: str) -> None:
    result = troth("verify", "-s", "GitHub", "--key", key, given=b"POST / HTTP/1.1\n\n")
    assert isinstance(result.exception, FaultyManifests)
    assert "--key" in str(result.exception)
    assert key.removeprefix("k1=").rstrip("=") not in str(result.exception) + result.output


def test_delivery_that_cannot_be_signed_is_reported(tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"\xff\0")
    (tmp_path / "short").write_bytes(b"text")
    github = options(tmp_path, GITHUB)
    for arguments, sentence in (
        (github, "--output http"),
        (["-s", "GitHub", "-k", str(tmp_path / "k1")], "write the URL of the delivery"),
        (["-s", "GitHub", "--url", URL], "exactly one key"),
        (["-s", "GitHub", "--url", URL, "-k", str(tmp_path / "short")], "16 to 1024"),
        (["-s", "GitHub", "--url", "nowhere", "-k", str(tmp_path / "k1")], "--url"),
    ):
        result = troth("sign", *arguments, "--body", str(body))
        assert isinstance(result.exception, FaultyManifests), result.output
        assert sentence in str(result.exception)


def test_largest_body_is_checked_without_delay() -> None:
    of = replace(delivery(GITHUB), body=b"[" * (2 << 20))
    judgement = judge(VerifyInput(of, signing(GITHUB), (KeyText("k", SECRET),), NOW, 300))
    assert judgement.codes == ("signature-wrong",)
