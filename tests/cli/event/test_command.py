"""`troth event` seals events, and says of every message why it is accepted or rejected."""

import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import strategies
from tests.cli.event.market import event, headers, mounts, portable, received, told
from tests.cli.running import Ended, troth
from tests.edge.events.reviews import REVIEW, Desk, accepting, placed
from tests.edge.events.trade import (
    CHECKOUT,
    FULFILMENT,
    LONG_AGO,
    ORDER,
    POLICY,
    SCHEMA,
    TOPIC,
    Trade,
    bundle_map,
    consumed,
    leaf,
    schema,
)
from tests.edge.mounts import in_file, transaction_token
from tests.patience import PATIENCE
from tests.pki.builders import own_root
from troth.cli.event import options
from troth.cli.event.explain import PASSED
from troth.cli.event.portable import Binding
from troth.cli.event.remedies import REMEDIES
from troth.edge.events import opening
from troth.edge.events.bindings import kafka
from troth.edge.events.consumption.dead_letters import DeadLetters
from troth.edge.events.message import Message
from troth.edge.events.redrive import read
from troth.edge.events.rejection import Reason, Rejection
from troth.edge.identity import files

DANGEROUS = "\x1b]0;owned\x07\u202e[red]\x7f\x9b1m"
BINDINGS: tuple[Binding, ...] = ("kafka", "nats")


def sealing(trade: Trade, *more: str, data: bytes = ORDER, type_: str = "order.placed") -> Ended:
    """Run `seal` as checkout, now: its certificate is valid at the time of the computer."""
    files = trade.checkout
    mount = ("--identity", str(files.identity.path), "--bundle", str(files.bundle.path))
    return troth("event", "seal", "--type", type_, *mount, *more, given=data)


@pytest.fixture
def today(trade: Trade) -> Trade:
    """The trade at the time of the computer, which `seal` uses."""
    trade.now = time.time()
    trade.publish()
    trade.consume()
    return trade


def failed(document: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["code"] for each in document["checks"] if each["answer"] == "failed"}


# Seal


@pytest.mark.parametrize("kind", ["kafka", "nats"])
def test_sealed_event_opens(today: Trade, kind: str) -> None:
    today.publish(type=kind)
    given = ("--subject", "customer-42", "--tenant", "acme é", "--request-id", "r-1")
    ended = sealing(today, *given, "--about", "order/7", "--id", "e-1")
    assert ended.code == 0, ended
    message = json.loads(ended.output)
    assert message["binding"] == kind
    assert base64.b64decode(message["data"]) == ORDER
    opened = told(event(today, "open", ended.output.encode(), "-o", "json"))["event"]
    assert opened.pop("time").endswith("Z")
    assert opened == {
        "id": "e-1",
        "type": "order.placed",
        "actor": CHECKOUT,
        "subject": "customer-42",
        "tenant": "acme é",
        "requestID": "r-1",
        "topic": TOPIC,
        "policy": POLICY,
        "about": "order/7",
        "contentType": "application/json",
    }


def test_data_is_sealed_from_a_file(today: Trade, tmp_path: Path) -> None:
    file = tmp_path / "order.json"
    file.write_bytes(ORDER)
    ended = sealing(today, str(file), data=b"something else")
    assert base64.b64decode(json.loads(ended.output)["data"]) == ORDER


def test_event_is_sealed_with_its_transaction_token(today: Trade, tmp_path: Path) -> None:
    evidence = {"require": ["Subject", "Tenant"], "evidence": "TransactionToken"}
    today.publish(context=evidence)
    today.consume(context=evidence)
    file = tmp_path / "token"
    file.write_text(f"{transaction_token()}\n")
    ended = sealing(today, "--transaction", str(file))
    opened = event(today, "open", ended.output.encode(), "-o", "json")
    assert told(opened)["event"]["tenant"] == "blue"


@pytest.mark.parametrize(
    ("more", "data", "reason"),
    [
        ((), b'{"sku":"A-1","quantity":0}', Reason.SCHEMA_INVALID),
        ((), b"\xff", Reason.SCHEMA_INVALID),
        (("--topic", "prod.payments"), ORDER, Reason.WRONG_TOPIC),
        (("--tenant", ""), ORDER, Reason.MALFORMED),
        (("--content-type", "application/cloudevents"), ORDER, Reason.MALFORMED),
    ],
)
def test_event_that_a_consumer_would_reject_is_not_sealed(
    today: Trade, more: tuple[str, ...], data: bytes, reason: Reason
) -> None:
    ended = sealing(today, *more, data=data)
    assert (ended.code, ended.output) == (1, "")
    assert ended.errors.startswith(f"not sealed: {reason}: ")


def test_missing_context_names_the_item(today: Trade) -> None:
    today.publish(context={"require": ["Tenant"]})
    ended = sealing(today)
    assert ended.code == 1
    assert "ContextMissing: The event has no Tenant" in ended.errors


def test_identity_without_a_grant_cannot_seal(today: Trade) -> None:
    for more, sentence in (
        (("--policy", "shop/payments"), "no grant to publish by the TopicPolicy shop/payments"),
        (("--identity", mounts(today)[1]), "no grant to publish"),
    ):
        ended = sealing(today, *more)
        assert (ended.code, ended.output) == (2, "")
        assert sentence in ended.errors


def test_identity_without_a_key_cannot_seal(today: Trade) -> None:
    for name in ("tls.crt", "tls.key"):
        (today.checkout.identity.path / name).unlink()
    ended = sealing(today)
    assert ended.code == 2
    assert "there is no certificate to sign events with" in ended.errors


# Open


@pytest.mark.parametrize("binding", BINDINGS)
def test_valid_event_is_shown_without_its_data(trade: Trade, binding: Binding) -> None:
    sealed = trade.seal(tenant="acme")
    message = portable(sealed, binding)
    ended = event(trade, "open", message)
    assert ended.code == 0, ended
    assert ended.output.startswith("valid event\n")
    rows = [line.split() for line in ended.lines]
    assert ["tenant", "acme"] in rows
    assert ["actor", CHECKOUT] in rows
    assert "A-1" not in ended.output
    for more in ((), ("-o", "json"), ("-o", "yaml")):
        assert "A-1" not in event(trade, "open", message, *more).output
        assert base64.b64encode(ORDER).decode() not in event(trade, "open", message, *more).output


def test_data_is_shown_on_request(trade: Trade) -> None:
    message = portable(trade.seal())
    assert ORDER.decode() in event(trade, "open", message, "--payload").output
    document = told(event(trade, "open", message, "--payload", "-o", "json"))
    assert base64.b64decode(document["data"]["base64"]) == ORDER


def test_data_of_a_rejected_message_is_marked(trade: Trade) -> None:
    message = portable(trade.seal(), headers=[])
    ended = event(trade, "open", message, "--payload")
    assert ended.code == 1
    assert "data, not verified" in ended.output


def test_rejection_says_what_to_do(trade: Trade) -> None:
    message = portable(trade.seal())
    trade.consume(producers=[])
    ended = event(trade, "open", message)
    assert ended.code == 1
    words = " ".join(ended.output.split())
    assert words.startswith("rejected: ProducerNotGranted")
    assert f"{CHECKOUT} has no grant to publish" in words
    assert "add it to spec.producers of the TopicPolicy" in words
    document = told(event(trade, "open", message, "-o", "json"))
    assert (document["code"], document["actor"]) == ("ProducerNotGranted", CHECKOUT)


def test_consumer_needs_no_private_key(trade: Trade) -> None:
    message = portable(trade.seal())
    for name in ("tls.crt", "tls.key"):
        (trade.fulfilment.identity.path / name).unlink()
    assert event(trade, "open", message).code == 0


def test_schema_is_read_from_its_own_mount(trade: Trade) -> None:
    message = portable(trade.seal())
    trade.consume(schemas=[in_file(schema())])
    document = told(event(trade, "open", message, "-o", "json"))
    assert document["code"] == "SchemaUnavailable"
    name = in_file(schema())["file"]
    trade.fulfilment.schemas.write({name: SCHEMA.encode()})
    folder = ("--schemas", str(trade.fulfilment.schemas.path))
    assert event(trade, "open", message, *folder).code == 0


def test_time_and_place_at_the_broker_are_read(trade: Trade) -> None:
    message = portable(trade.seal(), storedAt="2026-11-28T13:00:00.500Z", partition=3, offset=7)
    document = told(event(trade, "open", message, "-o", "json"))
    assert document["code"] == "TimeMismatch"
    assert "3600 s after its time" in document["sentence"]
    assert document["origin"] == f"{TOPIC}/3@7"


def test_event_is_verified_as_of_another_time(trade: Trade) -> None:
    message = portable(trade.seal())
    late = ("--at", str(int(trade.now) + 700_000), "-o", "json")
    assert told(event(trade, "open", message, *late))["code"] == "Expired"


def test_policy_is_found_by_the_topic(trade: Trade) -> None:
    """Two policies, one of them with two groups."""
    message = portable(trade.seal())
    others = [
        consumed(policy="shop/refunds", topic="prod.refunds"),
        consumed(policy="shop/returns", topic="prod.returns", group="a"),
        consumed(policy="shop/returns", topic="prod.returns", group="b"),
    ]
    own = leaf(FULFILMENT)
    trade.write(trade.fulfilment, own, FULFILMENT, bundle_map(), [consumed(), *others])
    assert told(event(trade, "open", message, "-o", "json"))["policy"] == POLICY
    returned = portable(trade.seal(), topic="prod.returns")
    ended = event(trade, "open", returned)
    assert ended.code == 2
    assert "write shop/returns --group a or shop/returns --group b" in ended.errors
    named = told(event(trade, "open", returned, "--group", "b", "-o", "json"))
    assert named["policy"] == "shop/returns"
    assert event(trade, "open", message, "--group", "c").code == 2
    unknown = event(trade, "open", portable(trade.seal(), topic="prod.unknown"))
    assert unknown.code == 2
    assert "there are several grants to consume" in unknown.errors


def test_policy_without_a_grant_is_a_rejection(trade: Trade) -> None:
    message = portable(trade.seal())
    document = told(event(trade, "explain", message, "-p", "shop/other", "-o", "json"))
    assert failed(document) == {"grant": "NotGranted"}
    assert document["expected"] is None
    assert event(trade, "explain", message, "-p", "shop/other").code == 1


# Redrives


def redriven(trade: Trade, tmp_path: Path) -> tuple[Message, bytes]:
    """An event that a review delivers again, and the same in its portable form."""
    accepting(trade)
    message = Desk(trade, tmp_path).redriven(placed(trade))
    return message, received(message)


def test_redrive_is_shown_with_its_event(trade: Trade, tmp_path: Path) -> None:
    message, given = redriven(trade, tmp_path)
    found = told(event(trade, "open", given, "-o", "json"))["event"]["redrive"]
    assert found["letter"] == read(message.attributes["trothredrive"])["trothletter"]
    del found["letter"]
    assert found == {
        "review": str(REVIEW),
        "requestedBy": "alice",
        "approvedBy": "bob",
        "count": 1,
        "time": "2026-11-28T12:00:00Z",
    }
    text = event(trade, "open", given).output
    assert "requested by alice, approved by bob" in " ".join(text.split())


def test_redrive_is_explained(trade: Trade, tmp_path: Path) -> None:
    _, given = redriven(trade, tmp_path)
    document = told(event(trade, "explain", given, "-o", "json"))
    said = {each["name"]: each["sentence"] for each in document["checks"]}
    assert said["redrive"] == (
        f"number 1, by the review {REVIEW}, requested by alice, approved by bob; first in {TOPIC}"
    )
    assert "delivered again" in said["time"]


def test_check_that_depends_on_an_invalid_redrive_is_not_made(trade: Trade, tmp_path: Path) -> None:
    _, given = redriven(trade, tmp_path)
    accepting(trade, reviewers=[])
    document = told(event(trade, "explain", given, "-o", "json"))
    assert failed(document) == {"redrive": "RedriveInvalid"}
    answers = {each["name"]: each["answer"] for each in document["checks"]}
    assert (answers["topic"], answers["time"], answers["schema"]) == ("untold", "untold", "passed")


# Explain


def test_all_checks_are_explained_in_their_order() -> None:
    assert list(PASSED) == list(opening.CHECKS)


def test_every_reason_has_a_remedy() -> None:
    assert REMEDIES.keys() == set(Reason)


def test_defaults_are_those_of_the_library() -> None:
    assert str(options.IDENTITY_MOUNT) == files.IDENTITY
    assert str(options.BUNDLE_MOUNT) == files.BUNDLE
    assert str(options.SCHEMAS_MOUNT) == files.SCHEMAS


@pytest.mark.parametrize("binding", BINDINGS)
def test_valid_event_passes_every_check(trade: Trade, binding: Binding) -> None:
    message = portable(trade.seal(tenant="acme"), binding, storedAt="2026-11-28T12:00:01Z")
    document = told(event(trade, "explain", message, "-o", "json"))
    assert {each["answer"] for each in document["checks"]} == {"passed"}
    assert all(each["sentence"] for each in document["checks"])
    assert document["event"]["tenant"] == "acme"
    assert document["message"]["storedAt"] == "2026-11-28T12:00:01Z"
    assert document["expected"]["producers"] == [CHECKOUT]
    certificate = document["certificate"]
    assert certificate["spiffeID"] == CHECKOUT
    assert certificate["issuer"] in certificate["authorities"]
    assert (certificate["notBefore"], certificate["notAfter"]) == (
        "2026-11-28T11:55:00Z",
        "2026-11-29T12:00:00Z",
    )


def test_independent_failures_are_reported_at_once(trade: Trade) -> None:
    message = portable(trade.seal(tenant="acme"), storedAt="2026-11-28T13:00:00Z")
    trade.consume(producers=[], environment="staging", tenants=["globex"])
    document = told(event(trade, "explain", message, "-o", "json"))
    assert failed(document) == {
        "producer": "ProducerNotGranted",
        "environment": "WrongEnvironment",
        "time": "TimeMismatch",
        "tenant": "TenantNotAccepted",
    }
    assert document["event"] is None
    assert document["codes"] == list(failed(document).values())


REACHED = ("grant", "redrive", "form", "seal")


def test_check_that_was_not_reached_is_never_passed(trade: Trade) -> None:
    sealed = trade.seal()
    changed = [
        [name, None if each is None else base64.b64encode(each).decode()]
        for name, each in headers(sealed, ce_id=b"another")
    ]
    message = portable(sealed, headers=changed)
    document = told(event(trade, "explain", message, "-o", "json"))
    answers = {each["name"]: each["answer"] for each in document["checks"]}
    assert answers["form"] == "passed"
    assert answers["seal"] == "failed"
    assert {each for name, each in answers.items() if name not in REACHED} == {"untold"}
    assert "not checked" in event(trade, "explain", message).output


def test_certificate_of_another_authority_is_described(trade: Trade) -> None:
    trade.publish(leaf(CHECKOUT, authority=own_root(which="another", now=LONG_AGO)))
    document = told(event(trade, "explain", portable(trade.seal()), "-o", "json"))
    assert failed(document) == {"certificate": "CertificateInvalid"}
    assert document["certificate"]["spiffeID"] == CHECKOUT
    assert document["certificate"]["issuer"] is None
    assert len(document["certificate"]["authorities"]) == 1
    text = " ".join(event(trade, "explain", portable(trade.seal())).output.split())
    assert "unknown; the authorities of prod.shop.example are" in text


def test_message_without_a_seal_is_explained(trade: Trade) -> None:
    ended = event(trade, "explain", portable(trade.seal(), headers=[]))
    assert ended.code == 1
    assert "none that can be read" in ended.output
    assert "rejected: Unsigned" in ended.output


def test_tombstone_is_explained(trade: Trade) -> None:
    document = told(event(trade, "explain", portable(trade.seal(), data=None), "-o", "json"))
    assert document["codes"] == ["Malformed"]
    assert document["data"] is None


# Dead letters


def buried(trade: Trade, message: Message, **options: Any) -> bytes:
    """Return the dead letter of a message in its portable form."""
    letters = DeadLetters(trade.identity(trade.fulfilment), POLICY, clock=trade.clock)
    rejection = Rejection(Reason.PRODUCER_NOT_GRANTED, "checkout has no grant")
    sealed = letters.seal(message, rejection, attempts=2, **options)
    assert sealed is not None
    return portable(sealed)


def kept(trade: Trade) -> Message:
    """Return an event as Kafka delivers it."""
    sealed = trade.seal(tenant="acme")
    return kafka.read(TOPIC, headers(sealed), sealed.data, partition=3, offset=17)


@pytest.mark.parametrize("command", ["open", "explain"])
def test_dead_letter_is_shown_with_its_original_as_of_now(trade: Trade, command: str) -> None:
    letter = buried(trade, kept(trade))
    document = told(event(trade, command, letter, "-o", "json"))
    assert document["accepted"] is True
    facts = document["deadLetter"]
    assert facts["code"] == "ProducerNotGranted"
    assert facts["origin"] == f"{TOPIC}/3@17"
    assert facts["consumer"] == FULFILMENT
    assert facts["attempts"] == 2
    assert document["original"]["event"]["tenant"] == "acme"
    trade.consume(producers=[])
    document = told(event(trade, command, letter, "-o", "json"))
    assert document["deadLetter"] == facts
    assert document["original"]["accepted"] is False
    text = event(trade, command, letter)
    assert text.code == 1
    assert text.output.startswith("valid dead letter\n")
    assert "its original, opened now:" in text.output
    assert "rejected: ProducerNotGranted" in text.output


def test_checks_of_the_original_are_explained(trade: Trade) -> None:
    letter = buried(trade, kept(trade))
    trade.consume(producers=[])
    original = told(event(trade, "explain", letter, "-o", "json"))["original"]
    assert failed(original) == {"producer": "ProducerNotGranted"}


def test_omitted_data_is_named(trade: Trade) -> None:
    letter = buried(trade, kept(trade), omit=frozenset({"data"}))
    document = told(event(trade, "open", letter, "-o", "json"))
    assert document["deadLetter"]["omitted"] == ["data"]
    assert document["deadLetter"]["dataSize"] == len(ORDER)
    assert document["accepted"] is False
    assert "omitted" in event(trade, "explain", letter).output


@pytest.mark.parametrize("command", ["open", "explain"])
def test_forged_dead_letter_is_rejected(trade: Trade, command: str) -> None:
    forged = json.loads(buried(trade, kept(trade)))
    for pair in forged["headers"]:
        if pair[0] == "ce_trothreason":
            pair[1] = base64.b64encode(b"Expired").decode()
    given = json.dumps(forged).encode()
    document = told(event(trade, command, given, "-o", "json"))
    assert (document["deadLetter"], document["code"]) == (None, "SignatureInvalid")
    assert "original" not in document
    text = event(trade, command, given)
    assert text.code == 1
    assert "a dead letter that is not valid itself" in text.output


# Hostile input


@pytest.mark.parametrize("command", ["open", "explain"])
@pytest.mark.parametrize("output", ["text", "json", "yaml"])
def test_content_of_a_message_does_not_control_the_terminal(
    trade: Trade, command: str, output: str
) -> None:
    value = base64.b64encode(DANGEROUS.encode()).decode()
    names = ("ce_type", "ce_id", "ce_authid", "ce_source", "ce_dataschema", "ce_trothpolicy")
    message = portable(
        trade.seal(),
        topic=DANGEROUS,
        headers=[*([name, value] for name in names), [DANGEROUS, value]],
        data=value,
    )
    ended = event(trade, command, message, "--payload", "-o", output, "-p", DANGEROUS)
    assert ended.code == 1
    assert not set("\x1b\x07\u202e\x7f\x9b") & set(ended.output + ended.errors)


@pytest.mark.parametrize("output", ["text", "json"])
def test_transaction_token_is_not_printed(trade: Trade, output: str) -> None:
    token = transaction_token()
    value = base64.b64encode(token.encode()).decode()
    names = ("ce_type", "ce_id", "ce_authid", "ce_trothtxntoken", "ce_trothtenant")
    message = portable(trade.seal(), headers=[[name, value] for name in names])
    for command in ("open", "explain"):
        ended = event(trade, command, message, "-o", output)
        assert ended.code == 1
        assert token.rpartition(".")[2] not in "".join(ended.output.split())


WRONG: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("no JSON", b"valid event"),
    ("no UTF-8", b"\xff\xfe"),
    ("no object", b"[]"),
    ("no members", b"{}"),
    ("deep", b"[" * 100_000),
    ("repeated member", b'{"topic":"a","topic":"b"}'),
]
MEMBERS: list[dict[str, Any]] = [
    {"topic": ""},
    {"topic": 7},
    {"topic": "\ud800"},
    {"binding": "secret"},
    {"headers": {"ce_id": "YQ=="}},
    {"headers": [["ce_id"]]},
    {"headers": [["ce_id", "%"]]},
    {"headers": [["ce_id", 7]]},
    {"headers": [["\ud800", "YQ=="]]},
    {"data": "é"},
    {"data": "YQ"},
    {"data": ["secret"]},
    {"storedAt": "yesterday"},
    {"storedAt": "2026-11-28T12:00:00"},
    {"storedAt": 1_795_867_200},
    {"partition": -1},
    {"offset": 2**63},
    {"offset": True},
    {"more": "secret"},
]


@pytest.mark.parametrize("command", ["open", "explain"])
@pytest.mark.parametrize("text", [text for _, text in WRONG], ids=[name for name, _ in WRONG])
def test_input_that_is_no_message_is_unusable(trade: Trade, command: str, text: bytes) -> None:
    ended = event(trade, command, text)
    assert (ended.code, ended.output) == (2, "")
    assert len(ended.errors.splitlines()) <= 4


@pytest.mark.parametrize("members", MEMBERS, ids=str)
def test_invalid_member_is_named_and_not_quoted(trade: Trade, members: dict[str, Any]) -> None:
    ended = event(trade, "open", portable(trade.seal(), **members))
    (name,) = members
    assert (ended.code, ended.output) == (2, "")
    assert name in ended.errors or name == "headers"
    assert "secret" not in ended.errors


def test_missing_files_are_named(trade: Trade, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    assert "No such file" in event(trade, "open", b"", str(nowhere)).errors
    ended = event(trade, "open", portable(trade.seal()), "--identity", str(nowhere))
    assert ended.code == 2
    assert "identity.json" in ended.errors
    assert "--identity and --bundle" in ended.errors


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trade, bytes]:
    trade = Trade(tmp_path_factory.mktemp("trade"))
    return trade, portable(trade.seal(tenant="acme", about="order/7"))


@strategies.more(3)
@given(data=st.data())
def test_no_input_ends_in_an_internal_error(
    shared: tuple[Trade, bytes], data: st.DataObject
) -> None:
    """Bytes at random, and messages with some bytes or members replaced."""
    trade, message = shared
    kind = data.draw(st.sampled_from(["bytes", "splice", "members", "header"]))
    if kind == "bytes":
        text = data.draw(st.binary(max_size=200))
    elif kind == "splice":
        at = data.draw(st.integers(0, len(message)))
        end = data.draw(st.integers(at, min(len(message), at + 50)))
        text = message[:at] + data.draw(st.binary(max_size=20)) + message[end:]
    else:
        value = json.loads(message)
        if kind == "members":
            scalars = st.none() | st.booleans() | st.integers() | st.text() | st.floats()
            wild = st.recursive(
                scalars, lambda each: st.lists(each) | st.dictionaries(st.text(), each)
            )
            value[data.draw(st.sampled_from([*value, "storedAt", "offset"]))] = data.draw(wild)
        else:
            place = data.draw(st.integers(0, len(value["headers"]) - 1))
            content = data.draw(st.binary(max_size=64))
            value["headers"][place][1] = base64.b64encode(content).decode()
        text = json.dumps(value).encode()
    for command in ("open", "explain"):
        ended = event(trade, command, text, "-o", data.draw(st.sampled_from(["text", "json"])))
        assert ended.code in (0, 1, 2), ended
        assert "Traceback" not in ended.errors


# Installation


@pytest.mark.parametrize(("kind", "module"), [("kafka", "confluent_kafka"), ("nats", "nats")])
def test_missing_client_library_is_named(
    trade: Trade, kind: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade.consume(type=kind)
    reader = {"kafka": "kafka_topic", "nats": "nats_subject"}[kind]
    monkeypatch.delitem(sys.modules, f"troth.cli.event.{reader}", raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    (tmp_path / "client.properties").write_text("bootstrap.servers=127.0.0.1:1\n")
    ended = troth("event", "tail", *mounts(trade), "--limit", "1", "--credentials", str(tmp_path))
    assert (ended.code, ended.output) == (2, "")
    assert ended.errors == (f"module {module} is not installed; run: pip install 'troth[{kind}]'\n")


def test_command_line_starts_without_the_library_for_events() -> None:
    code = "import sys, troth.cli.main; print([n for n in sys.modules if 'troth.edge' in n])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert done.stdout == "[]\n"
