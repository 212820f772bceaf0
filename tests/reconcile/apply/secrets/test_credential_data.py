"""The contents of a credential's Secret after each change, and the facts observed from them."""

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from troth.brokers.errors import UnsupportedError
from troth.brokers.nats.jwt import Key, Kind, read_creds
from troth.brokers.nats.rules import inbox_prefix
from troth.brokers.protocol import Credential, CredentialRequest, Login
from troth.planning.steps.broker_credentials import CredentialChange
from troth.reconcile.apply.secrets.credential_data import changed_data, login, material
from troth.resources.messaging.broker_type import BrokerType
from troth.resources.references import Ref
from troth.trust.grants import Slot
from troth.world.facts.broker import CredentialSecret, SlotCredential
from troth.world.observation.broker_secrets import (
    DIGEST,
    Which,
    credential_secret,
    digest,
    public_data,
)

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
LATER = NOW + timedelta(days=30)
PRINCIPAL = "troth-shop.checkout"
ACCOUNT = Key.generate(Kind.ACCOUNT).public
KAFKA = CredentialRequest(
    Ref("messaging", "main"), BrokerType.KAFKA, PRINCIPAL, ("k1.example:9093", "k2.example:9093")
)
NATS = CredentialRequest(
    Ref("messaging", "main"), BrokerType.NATS, PRINCIPAL, ("n.example:4222",), account=ACCOUNT
)

both = pytest.mark.parametrize("request_", [KAFKA, NATS], ids=["kafka", "nats"])


def after(request: CredentialRequest, *changes: CredentialChange) -> dict[str, bytes]:
    data: dict[str, bytes] = {}
    for change in changes:
        data = changed_data(change, data, request, NOW)
    return data


def held(request: CredentialRequest, data: Mapping[str, bytes], which: Which) -> Credential:
    return material(request.type, data, which)


def client(request: CredentialRequest, data: Mapping[str, bytes], which: Which) -> Login:
    return login(request.type, data, which)


def fact(data: Mapping[str, bytes], annotation: str | None = None) -> CredentialSecret:
    """Return the facts observed from a Secret with this data."""
    said = digest(data) if annotation is None else annotation
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    metadata = {"name": "checkout-main", "namespace": "shop", "annotations": {DIGEST: said}}
    return credential_secret({"metadata": metadata, "data": encoded})


@both
def test_new_credential_is_alone_in_the_first_slot(request_: CredentialRequest) -> None:
    data = after(request_, CredentialChange.ISSUE)
    seen, told = fact(data), held(request_, data, "current")
    assert (seen.broker, seen.principal, seen.intact) == (request_.broker, PRINCIPAL, True)
    assert seen.current is not None
    assert (seen.current.slot, seen.current.made_at) == (Slot.FIRST, NOW)
    assert (seen.next, seen.retiring) == (None, None)
    assert (told.principal, told.slot) == (PRINCIPAL, Slot.FIRST)
    assert seen.public == public_data(request_)


@both
def test_no_two_credentials_are_equal(request_: CredentialRequest) -> None:
    made = {
        held(request_, after(request_, CredentialChange.ISSUE), "current").material
        for _ in range(5)
    }
    assert len(made) == 5


@both
def test_rotation_alternates_between_the_slots(request_: CredentialRequest) -> None:
    first = after(request_, CredentialChange.ISSUE)
    prepared = changed_data(CredentialChange.PREPARE, first, request_, LATER)
    files = {key: value for key, value in first.items() if key != "troth.json"}
    assert files.items() <= prepared.items(), "what clients read is as it was"
    assert held(request_, prepared, "current") == held(request_, first, "current")
    assert held(request_, prepared, "next").slot is Slot.SECOND

    activated = changed_data(CredentialChange.ACTIVATE, prepared, request_, LATER)
    assert held(request_, activated, "current") == material(request_.type, prepared, "next")
    assert held(request_, activated, "retiring") == material(request_.type, first, "current")
    seen = fact(activated)
    assert seen.current is not None
    assert seen.current.made_at == LATER
    assert seen.retiring == fact(first).current

    retired = changed_data(CredentialChange.RETIRE, activated, request_, LATER)
    assert held(request_, retired, "current") == material(request_.type, activated, "current")
    assert fact(retired).retiring is None
    assert client(request_, first, "current").secret.encode() not in b"".join(retired.values())

    again = changed_data(CredentialChange.PREPARE, retired, request_, LATER)
    assert held(request_, again, "next").slot is Slot.FIRST


@both
@pytest.mark.parametrize(
    "changes",
    [
        (CredentialChange.ISSUE, CredentialChange.PREPARE),
        (CredentialChange.ISSUE, CredentialChange.PREPARE, CredentialChange.ACTIVATE),
        (
            CredentialChange.ISSUE,
            CredentialChange.PREPARE,
            CredentialChange.ACTIVATE,
            CredentialChange.RETIRE,
        ),
        (CredentialChange.ISSUE, CredentialChange.REFRESH),
    ],
)
def test_repeated_change_has_no_effect(
    request_: CredentialRequest, changes: tuple[CredentialChange, ...]
) -> None:
    data = after(request_, *changes)
    assert changed_data(changes[-1], data, request_, LATER) == data


@both
def test_impossible_change_is_rejected(request_: CredentialRequest) -> None:
    issued = after(request_, CredentialChange.ISSUE)
    overlapping = after(
        request_, CredentialChange.ISSUE, CredentialChange.PREPARE, CredentialChange.ACTIVATE
    )
    for change, data in (
        (CredentialChange.ACTIVATE, issued),  # nothing to activate
        (
            CredentialChange.PREPARE,
            overlapping,
        ),  # a third credential would take a slot that is in use
        *((change, {}) for change in CredentialChange if change is not CredentialChange.ISSUE),
    ):
        with pytest.raises(ValueError):  # noqa: PT011 - each has its own message
            changed_data(change, data, request_, LATER)
    for place in ("next", "retiring"):
        with pytest.raises(ValueError, match=f"no {place} credential"):
            held(request_, issued, place)


@both
@pytest.mark.parametrize(
    "change", [{"principal": "troth-shop.till"}, {"broker": Ref("messaging", "other")}]
)
def test_credential_is_never_issued_to_another_principal(
    request_: CredentialRequest, change: dict[str, Any]
) -> None:
    data = after(request_, CredentialChange.ISSUE)
    with pytest.raises(ValueError, match="for another"):
        changed_data(CredentialChange.PREPARE, data, replace(request_, **change), LATER)


@both
def test_moved_broker_changes_the_files_and_not_the_credential(
    request_: CredentialRequest,
) -> None:
    data = after(request_, CredentialChange.ISSUE, CredentialChange.PREPARE)
    moved = replace(request_, servers=("elsewhere.example:1",), authorities="roots\n")
    rewritten = changed_data(CredentialChange.REFRESH, data, moved, LATER)
    assert fact(data).public != public_data(moved)
    assert fact(rewritten).public == public_data(moved)
    for place in ("current", "next"):
        assert held(request_, rewritten, place) == held(request_, data, place)
    assert changed_data(CredentialChange.REFRESH, rewritten, request_, LATER) == data


def test_user_of_another_account_is_rejected() -> None:
    data = after(NATS, CredentialChange.ISSUE)
    other = replace(NATS, account=Key.generate(Kind.ACCOUNT).public)
    with pytest.raises(ValueError, match="for another account"):
        changed_data(CredentialChange.REFRESH, data, other, LATER)
    assert fact(changed_data(CredentialChange.ISSUE, data, other, LATER)).public == public_data(
        other
    )


@both
def test_any_change_of_the_data_is_detected(request_: CredentialRequest) -> None:
    data = after(request_, CredentialChange.ISSUE, CredentialChange.PREPARE)
    said = digest(data)
    assert fact(data, said).intact
    for key in data:
        assert not fact({**data, key: data[key] + b"x"}, said).intact
        assert not fact({name: data[name] for name in data if name != key}, said).intact
    assert not fact({**data, "more": b""}, said).intact
    swapped = {**data, "ca.crt": data["troth.json"]}
    assert not fact(swapped, said).intact


RECORD = json.loads(after(KAFKA, CredentialChange.ISSUE)["troth.json"])
HELD = RECORD["current"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"null",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 4000,
        b" " * 10_000_000,
        json.dumps({**RECORD, "more": 1}).encode(),
        json.dumps({**RECORD, "broker": "main"}).encode(),
        json.dumps({**RECORD, "broker": "a/b/c"}).encode(),
        json.dumps({**RECORD, "broker": 1}).encode(),
        json.dumps({**RECORD, "principal": "a\nb"}).encode(),
        json.dumps({**RECORD, "principal": "a" * 600}).encode(),
        json.dumps({**RECORD, "current": None}).encode(),
        json.dumps({**RECORD, "current": {**HELD, "slot": "Third"}}).encode(),
        json.dumps({**RECORD, "current": {**HELD, "slot": ["First"]}}).encode(),
        json.dumps({**RECORD, "current": {**HELD, "fingerprint": ""}}).encode(),
        json.dumps({**RECORD, "current": {**HELD, "madeAt": "0000-99-99T00:00:00Z"}}).encode(),
        json.dumps({**RECORD, "current": {**HELD, "madeAt": "0001-01-01T00:00:00+14:00"}}).encode(),
        json.dumps({**RECORD, "next": HELD}).encode(),
        json.dumps(
            {**RECORD, **{key: {**HELD, "slot": "Second"} for key in ("next", "retiring")}}
        ).encode(),
    ],
    ids=lambda _: "text",
)
def test_foreign_record_is_not_accepted(text: bytes) -> None:
    data = {**after(KAFKA, CredentialChange.ISSUE), "troth.json": text}
    seen = fact(data)
    assert not seen.intact
    assert (seen.broker, seen.current, seen.public) == (None, None, {})
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - each has its own message
        changed_data(CredentialChange.PREPARE, data, KAFKA, LATER)
    assert len(str(refused.value)) < 100


@both
@pytest.mark.parametrize("secret", [b"", b"guessed", b"\xff", b"-" * 100_000, "é".encode() * 43])
def test_secret_that_troth_did_not_make_is_passed_to_no_broker(
    request_: CredentialRequest, secret: bytes
) -> None:
    key = "password" if request_ is KAFKA else "user.creds"
    data = after(request_, CredentialChange.ISSUE, CredentialChange.PREPARE)
    places: tuple[tuple[Which, str], ...] = (("current", key), ("next", f"next-{key}"))
    for place, name in places:
        changed = {**data, name: secret}
        with pytest.raises(ValueError):  # noqa: PT011 - each has its own message
            held(request_, changed, place)
        with pytest.raises(ValueError):  # noqa: PT011
            changed_data(CredentialChange.ACTIVATE, changed, request_, LATER)


@both
def test_valid_secret_of_another_credential_is_rejected(request_: CredentialRequest) -> None:
    key = "password" if request_ is KAFKA else "user.creds"
    data = {
        **after(request_, CredentialChange.ISSUE),
        key: after(request_, CredentialChange.ISSUE)[key],
    }
    with pytest.raises(ValueError, match=r"does not match troth\.json"):
        held(request_, data, "current")


def test_credential_is_passed_to_no_broker_of_another_type() -> None:
    for request, other in ((KAFKA, NATS), (NATS, KAFKA)):
        data = after(request, CredentialChange.ISSUE)
        with pytest.raises(ValueError):  # noqa: PT011 - each has its own message
            material(other.type, data, "current")
        moved = replace(request, type=other.type)
        with pytest.raises(ValueError):  # noqa: PT011
            changed_data(CredentialChange.REFRESH, data, moved, LATER)


def test_creds_of_another_principal_are_rejected() -> None:
    data = after(NATS, CredentialChange.ISSUE)
    other = after(replace(NATS, principal="troth-shop.till"), CredentialChange.ISSUE)
    with pytest.raises(ValueError, match="for another principal"):
        held(NATS, {**data, "user.creds": other["user.creds"]}, "current")


@both
def test_representations_contain_no_secret(request_: CredentialRequest) -> None:
    data = after(
        request_, CredentialChange.ISSUE, CredentialChange.PREPARE, CredentialChange.ACTIVATE
    )
    places: tuple[Which, ...] = ("current", "retiring")
    secrets = {client(request_, data, place).secret for place in places}
    assert len(secrets) == 2
    shown = repr(
        [
            (fact(data), held(request_, data, place), client(request_, data, place))
            for place in places
        ]
    )
    shown += data["troth.json"].decode()
    for secret in secrets:
        assert secret not in shown
        assert all(line not in shown for line in secret.split("\n") if line.startswith("SU"))


def test_kafka_fingerprint_is_a_digest() -> None:
    data = after(KAFKA, CredentialChange.ISSUE)
    current = fact(data).current
    assert isinstance(current, SlotCredential)
    assert len(current.fingerprint) == 16
    assert held(KAFKA, data, "current").material == data["password"].decode()


def test_kafka_files_are_of_the_current_slot() -> None:
    data = after(KAFKA, CredentialChange.ISSUE, CredentialChange.PREPARE, CredentialChange.ACTIVATE)
    assert data["sasl.mechanism"] == b"SCRAM-SHA-512"
    password = data["password"].decode()
    assert f"sasl.password={password}\n" in data["client.properties"].decode()
    assert f'username="{PRINCIPAL}" password="{password}";' in data["sasl.jaas.config"].decode()
    assert data["sasl.jaas.config"] in data["java.properties"]
    assert "ca.crt" not in data


def test_nats_user_is_signed_by_its_own_key() -> None:
    data = after(NATS, CredentialChange.ISSUE)
    creds = read_creds(data["user.creds"].decode())
    claims, user = creds.claims, creds.key
    assert claims["iss"] == held(NATS, data, "current").material != ACCOUNT
    assert (claims["name"], claims["sub"]) == (PRINCIPAL, user.public)
    assert claims["nats"]["issuer_account"] == ACCOUNT
    assert data["servers"] == b"tls://n.example:4222"
    assert data["inbox.prefix"].decode() == inbox_prefix(PRINCIPAL)


@pytest.mark.parametrize("principal", ["", 'a" b="', "a\nb", "a b", "a*", "x" * 250])
def test_principal_that_needs_escaping_in_a_file_is_rejected(principal: str) -> None:
    with pytest.raises(ValueError, match="Kafka principal"):
        changed_data(CredentialChange.ISSUE, {}, replace(KAFKA, principal=principal), NOW)


@pytest.mark.parametrize("type_", [BrokerType.RABBITMQ, BrokerType.MQTT, BrokerType.VALKEY])
def test_unsupported_broker_gets_no_credential(type_: BrokerType) -> None:
    with pytest.raises(UnsupportedError, match=type_):
        changed_data(CredentialChange.ISSUE, {}, replace(KAFKA, type=type_), NOW)
