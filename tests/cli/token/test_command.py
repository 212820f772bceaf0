"""`troth token` shows a token's claims, never its text, and reports every check."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from typer.testing import CliRunner, Result

from tests.cli.tokens import (
    CHECKOUT,
    DOMAIN,
    IDENTITY,
    ISSUER,
    PAYMENTS,
    STRANGER,
    access,
    claims_of,
    forged,
    mounted,
    now,
    transaction,
)
from tests.pki import builders as pki
from troth.cli.main import app
from troth.cli.quoting import quoted, without_tokens
from troth.cli.token.decode import DEEPEST, take_apart
from troth.pki.certificates.issuing import LeafProfile, issue
from troth.pki.encodings.pem import read_certificates
from troth.resources.faults import FaultyManifests

Made = Callable[[], str]
"""Makes a token when called: one made at the start of a long run would have expired."""


def troth(*arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(app, ["token", *arguments], input=given)


def inspected(token: str) -> str:
    result = troth("inspect", given=token)
    assert result.exit_code == 0, result.output
    return result.stdout


def unusual(token: str) -> list[str]:
    result = troth("inspect", "-o", "json", given=token)
    assert result.exit_code == 0, result.output
    found: list[str] = json.loads(result.stdout)["unusual"]
    return found


# Inspect


def test_output_of_inspect_begins_with_not_verified() -> None:
    assert inspected(access(STRANGER)).startswith("NOT VERIFIED")
    assert json.loads(troth("inspect", "-o", "json", given=access()).stdout)["verified"] is False


def test_header_claims_and_times_are_shown() -> None:
    lines = [line.split() for line in inspected(access()).splitlines()]
    for words in (
        ["alg", "ES256"],
        ["typ", "JWT"],
        ["sub", CHECKOUT],
        ["scope", "payments.charge"],
    ):
        assert words in lines
    (expiry,) = [line for line in lines if line[:1] == ["exp"]]
    assert expiry[-3:] == ["expires", "in", "3m"]


def test_transaction_token_is_distinguished_from_an_access_token() -> None:
    assert "Access token" in inspected(access())
    text = inspected(transaction())
    assert "Transaction token" in text
    assert '{"tenant": "acme"}' in text


@pytest.mark.parametrize("output", ["text", "json"])
@pytest.mark.parametrize("made", [access, transaction, lambda: forged(claims={"nested": access()})])
def test_token_and_signature_are_never_printed(made: Made, output: str) -> None:
    token = made()
    printed = troth("inspect", "-o", output, given=token).output
    within = claims_of(token).get("nested", token)
    for secret in {token, within}:
        assert secret not in printed
        assert secret.rpartition(".")[2] not in printed


@pytest.mark.parametrize("output", ["text", "json"])
def test_token_as_a_repeated_member_name_is_never_printed(output: str) -> None:
    within = json.dumps(access())
    token = forged(payload=f"{{{within}: 1, {within}: 2}}")
    assert access_tokens_in(troth("inspect", "-o", output, given=token).output) == []


@pytest.mark.parametrize("length", [0, 1, 5])
def test_token_within_a_word_is_redacted(length: int) -> None:
    text = f"{'eyJ.' * length}{'x' * length}{access()}, and {access()}"
    assert access_tokens_in(quoted(text)) == []
    assert quoted(text).endswith(", and (token redacted)")


def access_tokens_in(text: str) -> list[str]:
    """Return all parts of tokens in a text, also across line breaks."""
    return re.findall("eyJhbGciOi[A-Za-z0-9_.-]*", "".join(text.split()))


def test_token_is_read_from_a_file_or_standard_input(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(access() + "\n")
    assert "Access token" in troth("inspect", f"@{file}").stdout
    assert "Access token" in troth("inspect", "-", given=file.read_text()).stdout


def test_token_on_the_command_line_causes_a_warning() -> None:
    result = troth("inspect", access())
    assert "Access token" in result.stdout
    assert "history" in result.stderr


def test_control_characters_of_a_token_are_not_printed() -> None:
    dangerous = "\x1b]0;owned\x07\u202e[red]\x7f\x9b1m"
    twice = f"{{{json.dumps(dangerous)}: 1, {json.dumps(dangerous)}: 2}}"
    for token in (
        forged(claims={"scope": dangerous}),
        forged(claims={dangerous: "x"}),
        forged(payload=twice),
    ):
        printed = inspected(token)
        assert not set("\x1b\x07\u202e\x7f\x9b") & set(printed)
        assert "[red]" in printed  # as text, not as a colour


def test_valid_token_is_unusual_only_without_a_certificate_binding() -> None:
    (sentence,) = unusual(access())
    assert sentence.startswith("it is not bound to a certificate")
    assert unusual(access(certificate=b"der")) == []
    assert unusual(transaction()) == []
    assert unusual(transaction(requester=f"{CHECKOUT},{PAYMENTS}")) == []


@pytest.mark.parametrize(
    ("token", "sentence"),
    [
        (lambda: forged({"alg": "none"}), "its alg is none"),
        (lambda: access().rpartition(".")[0] + ".", "it has no signature"),
        (lambda: access()[:-2], "its signature has 63 bytes"),
        (lambda: forged({"alg": "HS256"}), "it is not signed with ES256"),
        (lambda: forged({"jku": "https://evil.example"}), "its header brings its own key in jku"),
        (lambda: forged({"crit": ["b64"]}), "its header has crit"),
        (lambda: forged(payload='{"sub":"a","sub":"b"}'), "its claims has the member sub twice"),
        (lambda: forged(claims={"scope": "a" * 8200}), "more than 8192 are rejected"),
        (lambda: forged(claims={"aud": ["a", "b"]}), "it has 2 audiences"),
        (lambda: forged(claims={"exp": 1.5}), "exp is not a whole number"),
        (lambda: forged(claims={"exp": True}), "exp is not a whole number"),
        (lambda: forged(payload='{"exp":1e999}'), "exp is not a whole number"),
        (lambda: forged(payload='{"exp":NaN}'), "exp is not a whole number"),
        (lambda: access(now=now() - timedelta(minutes=9)), "it expired 4m ago"),
        (lambda: access(now=now() + timedelta(minutes=5, seconds=30)), "it is not yet valid"),
        (lambda: forged(claims={"exp": int(now().timestamp()) + 3600}), "its lifetime is 61m"),
        (lambda: forged(claims={"sub": "root"}), "sub is not the SPIFFE ID"),
        (lambda: forged(claims={"client_id": PAYMENTS}), "client_id differs from sub"),
        (lambda: forged(claims={"jti": None}), "it has no jti"),
        (lambda: forged(claims={"admin": True}), "it has a claim admin"),
        (lambda: f"Bearer {access()}", "it starts with the word Bearer"),
        (lambda: access() + "=", "its signature is padded with ="),
    ],
)
def test_unusual_properties_are_listed(token: Made, sentence: str) -> None:
    assert [each for each in unusual(token()) if sentence in each]


@pytest.mark.parametrize(
    "text",
    ["", "no token", "a.b", "a.b.c.d.e", "%%%.e30.e30", "e30.W10.", "e30.ew.", "é.é.é"],
)
def test_invalid_token_is_rejected_and_not_quoted(text: str) -> None:
    result = troth("inspect", given=text)
    assert isinstance(result.exception, FaultyManifests)
    assert not text or text not in str(result.exception)


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ('{"a":', "}")])
def test_deeply_nested_token_is_rejected(opens: str, closes: str) -> None:
    for levels in (DEEPEST, 600, 100_000):
        payload = f'{{"a":{opens * levels}1{closes * levels}}}'
        result = troth("inspect", given=forged(payload=payload))
        assert isinstance(result.exception, FaultyManifests)
    shallow = f'{{"a":{opens * (DEEPEST - 1)}1{closes * (DEEPEST - 1)}}}'
    assert troth("inspect", given=forged(payload=shallow)).exit_code == 0


@pytest.mark.parametrize(
    "payload",
    [
        json.dumps({"scope": "eyJ" * 100_000}),
        json.dumps({"scope": "eyJ" * 50_000 + ".eyJ" * 50_000}),
        json.dumps({str(number): 0 for number in range(40_000)}),
    ],
    ids=["words that begin as tokens do", "parts that do", "members"],
)
def test_longest_token_is_searched_in_time(payload: str) -> None:
    """A search quadratic in the length would take minutes."""
    shown = json.dumps(without_tokens(take_apart(forged(payload=payload)).claims))
    assert len(shown) <= len(payload)


def test_token_that_is_not_utf_8_is_rejected(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_bytes(b"\xff" * 10)
    assert "not UTF-8 text" in str(troth("inspect", f"@{file}").exception)
    file.write_bytes(b"a" * (1 << 21))
    assert "not a token: larger than 1048576 bytes" in str(troth("inspect", f"@{file}").exception)
    assert "No such file" in str(troth("inspect", "@nowhere").exception)


# Verify


def verified(folder: Path, token: str, *more: str, audience: str = PAYMENTS) -> Result:
    mounted(folder)
    trust = ("--bundle", str(folder), "--identity", str(folder))
    return troth("verify", "--audience", audience, *trust, *more, given=token)


def answers(folder: Path, token: str, *more: str, audience: str = PAYMENTS) -> Mapping[str, Any]:
    result = verified(folder, token, "-o", "json", *more, audience=audience)
    document: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if document["accepted"] else 1)
    return document


def test_valid_token_passes_every_check_and_its_claims_are_shown(tmp_path: Path) -> None:
    document = answers(tmp_path, access())
    assert {check["answer"] for check in document["checks"]} == {"passed"}
    assert document["says"]["subject"] == CHECKOUT
    assert document["says"]["scopes"] == "payments.charge"


def test_valid_transaction_token_is_shown_to_authenticate_no_caller(tmp_path: Path) -> None:
    result = verified(tmp_path, transaction(), audience=DOMAIN)
    assert result.exit_code == 0, result.output
    assert "it does not authenticate the caller" in result.stdout
    assert answers(tmp_path, transaction(), audience=DOMAIN)["says"]["context tenant"] == "acme"


@pytest.mark.parametrize("output", ["text", "json"])
def test_claims_are_shown_without_embedded_tokens(tmp_path: Path, output: str) -> None:
    within = f"{access()[:60]}.e30.AAAA"
    token = transaction(context={"tenant": "acme", "note": within})
    result = verified(tmp_path, token, "-o", output, audience=DOMAIN)
    assert result.exit_code == 0, result.output
    assert access_tokens_in(result.stdout) == []


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (lambda: access(STRANGER), "token-key"),
        (lambda: access()[:-2], "token-signature"),
        (lambda: access()[:-8] + "AAAAAAAA", "token-signature"),
        (lambda: access(issuer="https://evil.example"), "token-issuer"),
        (lambda: access(audience="https://ledger.example"), "token-audience"),
        (lambda: forged(claims={"aud": [PAYMENTS, "other"]}), "token-audience"),
        (lambda: access(now=now() - timedelta(minutes=7)), "token-expired"),
        (lambda: access(now=now() + timedelta(minutes=5)), "token-not-yet-valid"),
        (lambda: forged(claims={"exp": int(now().timestamp()) + 3600}), "token-lifetime"),
        (lambda: forged({"alg": "none"}), "token-algorithm"),
        (lambda: forged({"alg": "HS256"}), "token-algorithm"),
        (lambda: forged({"typ": "at+jwt"}), "token-type"),
        (lambda: forged({"jwk": {}}), "token-malformed"),
        (lambda: forged(claims={"nbf": None}), "token-malformed"),
        (lambda: forged(claims={"nbf": "x", "exp": 100, "iat": 1}), "token-malformed"),
        (transaction, "transaction-key"),  # its audience is the trust domain
        (lambda: "no token", "token-malformed"),
        (lambda: "", "token-malformed"),
    ],
)
def test_invalid_token_is_rejected_with_its_code(tmp_path: Path, token: Made, code: str) -> None:
    document = answers(tmp_path, token())
    assert document["accepted"] is False
    assert code in document["codes"]
    assert document["says"] == {}


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    past = now() - timedelta(minutes=9)
    token = access(issuer="https://evil.example", audience="https://ledger.example", now=past)
    document = answers(tmp_path, token)
    assert document["codes"] == ["token-issuer", "token-audience", "token-expired"]
    assert {check["answer"] for check in document["checks"]} == {"passed", "failed"}


def test_check_that_was_not_possible_is_untold(tmp_path: Path) -> None:
    checks = answers(tmp_path, access(STRANGER))["checks"]
    told = {check["name"]: check["answer"] for check in checks}
    assert told["type"] == "passed"
    assert told["key"] == "failed"
    assert {told[name] for name in ("signature", "issuer", "audience", "malformed")} == {"untold"}


def test_failure_shows_the_actual_and_the_expected_value(tmp_path: Path) -> None:
    text = verified(tmp_path, access(audience="https://ledger.example")).stdout
    words = " ".join(text.split())
    assert "token-audience: The access token is for another audience" in words
    assert 'Its audience is ["https://ledger.example"].' in words
    assert text.rstrip().endswith("rejected: token-audience")


def test_clock_skew_within_the_limit_is_accepted_and_shown(tmp_path: Path) -> None:
    token = access(now=now() - timedelta(minutes=5, seconds=30))
    words = " ".join(verified(tmp_path, token).stdout.split())
    # 30 s, and more on a busy machine
    assert re.search("it expired [345]\\ds ago, which is within the allowed clock skew", words)


def test_transaction_token_of_a_domain_without_an_issuer_is_rejected(tmp_path: Path) -> None:
    mounted(tmp_path)
    (tmp_path / "identity.json").write_text(json.dumps(IDENTITY | {"issuers": {}}))
    for token in (transaction(), transaction(issuer="")):
        trust = ("--bundle", str(tmp_path), "--identity", str(tmp_path), "-o", "json")
        result = troth("verify", "-a", DOMAIN, *trust, given=token)
        assert result.exit_code == 1
        assert json.loads(result.stdout)["codes"] == ["transaction-issuer"]


def test_check_that_was_not_reached_is_never_passed(tmp_path: Path) -> None:
    mounted(tmp_path)
    (tmp_path / "identity.json").write_text(json.dumps(IDENTITY | {"issuers": {}}))
    trust = ("--bundle", str(tmp_path), "--identity", str(tmp_path), "-o", "json")
    for token, failed in (
        (transaction(STRANGER), "key"),
        (forged(of=transaction(), payload='{"iss":"a","iss":"b"}'), "malformed"),
    ):
        checks = json.loads(troth("verify", "-a", DOMAIN, *trust, given=token).stdout)["checks"]
        told = {check["name"]: check["answer"] for check in checks}
        assert told[failed] == "failed"
        assert {told["signature"], told["issuer"], told["audience"]} == {"untold"}


@pytest.mark.parametrize(
    ("named", "accepted"),
    [
        (ISSUER, True),
        (f"{DOMAIN}={ISSUER}", True),
        (f"other.example={ISSUER}", False),
        ("https://evil.example", False),
    ],
)
def test_issuer_can_be_named(tmp_path: Path, named: str, accepted: bool) -> None:
    mounted(tmp_path)
    bundle = ("--bundle", str(tmp_path / "bundle-map.json"))
    result = troth("verify", "-a", PAYMENTS, *bundle, "--issuer", named, given=access())
    assert result.exit_code == (0 if accepted else 1)


def test_verify_needs_an_issuer(tmp_path: Path) -> None:
    mounted(tmp_path)
    result = troth("verify", "-a", PAYMENTS, "--bundle", str(tmp_path), given=access())
    assert result.exit_code == 2
    assert "--identity, --issuer or --kubeconfig" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("bundle-map.json", "{", "SPIFFE bundle is not JSON"),
        ("bundle-map.json", '{"keys": []}', "has no object trust_domains"),
        ("identity.json", '{"issuers": {"a": 1}}', "identity.json: version: Field required"),
    ],
)
def test_invalid_trust_file_is_reported(
    tmp_path: Path, name: str, text: str, sentence: str
) -> None:
    mounted(tmp_path)
    (tmp_path / name).write_text(text)
    trust = ("--bundle", str(tmp_path), "--identity", str(tmp_path))
    result = troth("verify", "-a", PAYMENTS, *trust, given=access())
    assert result.exit_code in (1, 2)
    assert sentence in " ".join(f"{result.exception} {result.stderr}".split())


# Holder


def certificate(folder: Path, spiffe_id: str = CHECKOUT, which: str = "leaf") -> tuple[Path, bytes]:
    """Return a tls.crt, and its leaf as DER."""
    profile = LeafProfile(spiffe_id, (), pki.DAY)
    pem = issue(profile, pki.key(which=which), pki.own_root(), pki.NOW)
    file = folder / f"{which}.crt"
    file.write_bytes(pem)
    return file, read_certificates(pem, "tls.crt")[0].public_bytes(Encoding.DER)


def test_token_passes_with_its_holders_certificate(tmp_path: Path) -> None:
    file, der = certificate(tmp_path)
    document = answers(tmp_path, access(certificate=der), "--certificate", str(file))
    assert document["accepted"] is True
    assert document["checks"][-1]["name"] == "holder"
    assert "holder" not in {each["name"] for each in answers(tmp_path, access())["checks"]}


def test_stolen_token_is_rejected_with_another_certificate(tmp_path: Path) -> None:
    _, der = certificate(tmp_path)
    renewed, _ = certificate(tmp_path, which="renewed")
    thief, _ = certificate(tmp_path, PAYMENTS, "thief")
    for file in (renewed, thief):
        document = answers(tmp_path, access(certificate=der), "--certificate", str(file))
        assert document["codes"] == ["token-holder"]


def test_token_with_another_subject_than_its_certificate_is_rejected(tmp_path: Path) -> None:
    file, der = certificate(tmp_path)
    token = access(subject=PAYMENTS, certificate=der)
    assert answers(tmp_path, token, "--certificate", str(file))["codes"] == ["token-holder"]


def test_unbound_token_is_rejected_with_a_certificate(tmp_path: Path) -> None:
    file, _ = certificate(tmp_path)
    document = answers(tmp_path, access(), "--certificate", str(file))
    assert document["codes"] == ["token-unbound"]


def test_holder_of_a_rejected_token_is_untold(tmp_path: Path) -> None:
    file, der = certificate(tmp_path)
    token = access(STRANGER, certificate=der)
    checks = answers(tmp_path, token, "--certificate", str(file))["checks"]
    assert checks[-1] == {"name": "holder", "answer": "untold", "sentence": ""}


def test_invalid_certificate_is_reported(tmp_path: Path) -> None:
    file = tmp_path / "tls.crt"
    file.write_text("-----BEGIN PRIVATE KEY-----")
    result = verified(tmp_path, access(), "--certificate", str(file))
    assert isinstance(result.exception, FaultyManifests)
