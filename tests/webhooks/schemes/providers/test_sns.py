"""SNS: signed by AWS, for a configured topic, with AWS's certificate."""

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from tests.webhooks.schemes.deliveries import (
    NOW,
    STAMP,
    TOLERANCE,
    changed,
    post,
    refused,
    verified,
)
from troth.webhooks.schemes.delivery import Delivery, Reason
from troth.webhooks.schemes.fields.encodings import to_base64
from troth.webhooks.schemes.providers.sns.certificate_urls import (
    CertificateNeededError,
    is_certificate_url,
)
from troth.webhooks.schemes.providers.sns.scheme import SNS
from troth.webhooks.schemes.scheme import Key, KeyFormatError
from troth.webhooks.schemes.signatures.asymmetric import RSA_PKCS1, RSA_SHA1, make_signature

TOPIC = "arn:aws:sns:us-west-2:123456789012:orders"
CERTIFICATE = "https://sns.us-west-2.amazonaws.com/SimpleNotificationService-f3ecfb7224c7233fe7bb5f59f96de52f.pem"
SCHEME = SNS([TOPIC])

Message = dict[str, Any]


def notification(**members: Any) -> Message:
    return {
        "Type": "Notification",
        "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
        "TopicArn": TOPIC,
        "Subject": "My First Message",
        "Message": "Hello\nworld! é",
        "Timestamp": "2023-11-14T22:13:20.000Z",
        "UnsubscribeURL": "https://sns.us-west-2.amazonaws.com/?Action=Unsubscribe",
        "MessageAttributes": {"a": {"Type": "String", "Value": "b"}},
        "SignatureVersion": "2",
        "SigningCertURL": CERTIFICATE,
    } | members


def confirmation(**members: Any) -> Message:
    message = notification(
        Type="SubscriptionConfirmation",
        Token="2336412f37",
        SubscribeURL="https://sns.us-west-2.amazonaws.com/?Action=ConfirmSubscription",
    )
    del message["Subject"]
    return message | members


@cache
def private(which: str = "aws") -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def certificate(
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None, days: int = 10
) -> bytes:
    key = key or private()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sns.amazonaws.com")])
    begins = datetime.fromtimestamp(NOW, UTC) - timedelta(days=20)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(begins)
        .not_valid_after(begins + timedelta(days=20 + days))
        .sign(key, SHA256())
    )
    return made.public_bytes(Encoding.PEM)


def text_of(message: Message) -> bytes:
    """As AWS describes it, apart from the code under test."""
    names = sorted(
        {"Message", "MessageId", "Timestamp", "TopicArn", "Type"}
        | ({"Subject"} if message["Type"] == "Notification" else {"SubscribeURL", "Token"})
    )
    present = [name for name in names if message.get(name) is not None]
    return "".join(f"{name}\n{message[name]}\n" for name in present).encode()


def signed(message: Message | None = None, version: str = "2") -> Delivery:
    message = (message or notification()) | {"SignatureVersion": version}
    algorithm = RSA_SHA1 if version == "1" else RSA_PKCS1
    signature = make_signature(private(), algorithm, text_of(message))
    return post(json.dumps(message | {"Signature": to_base64(signature)}).encode())


def with_members(delivery: Delivery, **members: Any) -> Delivery:
    """The delivery with other members, and the signature of the old ones."""
    return changed(delivery, body=json.dumps(json.loads(delivery.body) | members).encode())


@cache
def key() -> Key:
    return SCHEME.key("aws-2023", certificate() + b"\n")


@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize(
    "message",
    [
        notification,
        lambda: notification(Subject=None),
        confirmation,
        lambda: confirmation(Type="UnsubscribeConfirmation"),
    ],
)
def test_every_kind_of_message_is_verified(message: Callable[[], Message], version: str) -> None:
    known = verified(SCHEME, signed(message(), version), [key()])
    assert (known.key_id, known.timestamp) == ("aws-2023", NOW)
    assert known.delivery_id == "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324"


@pytest.mark.parametrize(("version", "digest"), [("1", "-sha1"), ("2", "-sha256")])
def test_openssl_verifies_the_same_messages(tmp_path: Path, version: str, digest: str) -> None:
    message = notification()
    pem = private().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(pem)
    (tmp_path / "text").write_bytes(text_of(message))
    command = ["openssl", "dgst", digest, "-sign", "key.pem", "text"]
    signature = subprocess.run(command, cwd=tmp_path, check=True, capture_output=True).stdout
    members = {"Signature": to_base64(signature), "SignatureVersion": version}
    assert verified(SCHEME, post(json.dumps(message | members).encode()), [key()])


def test_own_signatures_are_verified() -> None:
    pem = private().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    signer = SCHEME.key("k", pem)
    for body in (b"any text", signed().body):
        delivery = SCHEME.sign(post(body), signer, STAMP)
        known = verified(SCHEME, delivery, [key()])
        assert (known.delivery_id, known.timestamp) == (STAMP.delivery_id, NOW)
    with pytest.raises(KeyFormatError, match="private"):
        SCHEME.sign(post(), key(), STAMP)


def test_china_has_its_own_domain() -> None:
    topic = TOPIC.replace("aws:", "aws-cn:").replace("us-west-2", "cn-north-1")
    pem = private().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    scheme = SNS([topic])
    delivery = scheme.sign(post(b"hello"), scheme.key("k", pem), STAMP)
    assert b"https://sns.cn-north-1.amazonaws.com.cn/" in delivery.body
    assert verified(scheme, delivery, [key()])


@pytest.mark.parametrize(
    "name", ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
)
def test_changed_member_is_rejected(name: str) -> None:
    values = {"Timestamp": "2023-11-14T22:13:21.000Z", "TopicArn": "other", "Type": "Notification "}
    delivery = with_members(signed(), **{name: values.get(name, "other")})
    scheme = SNS([TOPIC, "other"])
    assert refused(scheme, delivery, [key()]) in (Reason.SIGNATURE_WRONG, Reason.BODY_MALFORMED)


@pytest.mark.parametrize("name", ["Subject", "MessageId", "Timestamp", "TopicArn", "Type"])
@pytest.mark.parametrize("line_break", ["\n", "\r", "\u2028"])
def test_line_break_outside_of_the_message_is_rejected(name: str, line_break: str) -> None:
    """Else the text that is signed would be that of several messages."""
    delivery = signed(notification(**{name: f"a{line_break}b"}))
    assert refused(SCHEME, delivery, [key()]) is Reason.BODY_MALFORMED


def test_author_of_a_message_cannot_choose_its_id() -> None:
    """The text of this message is also that of one with another id and a longer subject."""
    inner = "a\nMessageId\nchosen\nSubject\nb"
    message = notification(Message=inner, Subject=None)
    again = message | {
        "Message": "a",
        "MessageId": "chosen",
        "Subject": f"b\nMessageId\n{message['MessageId']}",
    }
    assert text_of(again) == text_of(message)
    assert verified(SCHEME, signed(message), [key()])
    delivery = with_members(signed(message), **again)
    assert refused(SCHEME, delivery, [key()]) is Reason.BODY_MALFORMED


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"TopicArn": f"{TOPIC}-2"}, Reason.SENDER_UNEXPECTED),
        ({"TopicArn": TOPIC.replace("123456789012", "210987654321")}, Reason.SENDER_UNEXPECTED),
        ({"Type": "Other"}, Reason.BODY_MALFORMED),
        ({"Type": None}, Reason.BODY_MALFORMED),
        ({"Type": ["Notification"]}, Reason.BODY_MALFORMED),
        ({"MessageId": ""}, Reason.BODY_MALFORMED),
        ({"MessageId": 1}, Reason.BODY_MALFORMED),
        ({"Subject": ""}, Reason.BODY_MALFORMED),
        ({"Subject": ["a"]}, Reason.BODY_MALFORMED),
        ({"Message": None}, Reason.BODY_MALFORMED),
        ({"Message": "\ud800"}, Reason.BODY_MALFORMED),
        ({"Timestamp": "2023-11-14T22:13:20"}, Reason.TIMESTAMP_MALFORMED),
        ({"Timestamp": "2023-02-30T22:13:20.000Z"}, Reason.TIMESTAMP_MALFORMED),
        ({"Timestamp": "1700000000"}, Reason.TIMESTAMP_MALFORMED),
        ({"Timestamp": "2023-11-14T22:08:19.999Z"}, Reason.TIMESTAMP_TOO_OLD),
        ({"Timestamp": "2023-11-14T22:18:20.001Z"}, Reason.TIMESTAMP_TOO_NEW),
        ({"SignatureVersion": "3"}, Reason.SIGNATURE_MALFORMED),
        ({"SignatureVersion": 2}, Reason.SIGNATURE_MALFORMED),
        ({"SignatureVersion": "none"}, Reason.SIGNATURE_MALFORMED),
        ({"SignatureVersion": "1"}, Reason.SIGNATURE_WRONG),
        ({"Signature": None}, Reason.SIGNATURE_MISSING),
        ({"Signature": ""}, Reason.SIGNATURE_MISSING),
        ({"Signature": "AAAA"}, Reason.SIGNATURE_MALFORMED),
        ({"Signature": "A" * 344}, Reason.SIGNATURE_WRONG),
        ({"Signature": "A" * 100_000}, Reason.SIGNATURE_MALFORMED),
        ({"Signature": "é"}, Reason.SIGNATURE_MALFORMED),
        ({"SigningCertURL": None}, Reason.SENDER_UNEXPECTED),
    ],
)
def test_invalid_message_is_rejected(members: Message, reason: Reason) -> None:
    assert refused(SCHEME, with_members(signed(), **members), [key()]) is reason


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b"\xff",
        b'{"Type": "Notification", "Type": "Notification"}',
        b"[" * 100_000,
        b'{"a": 1.5}',
    ],
)
def test_body_that_is_no_message_is_rejected(body: bytes) -> None:
    assert refused(SCHEME, post(body), [key()]) is Reason.BODY_MALFORMED


def test_repeated_member_is_rejected() -> None:
    body = signed().body.replace(b"{", b'{"MessageId": "other", ', 1)
    assert refused(SCHEME, post(body), [key()]) is Reason.BODY_MALFORMED


# The certificate


@pytest.mark.parametrize(
    "url",
    [
        "https://sns.us-east-1.amazonaws.com.evil.example/x.pem",
        "https://sns.us-east-1.amazonaws.com@evil.example/x.pem",
        "https://evil@sns.us-east-1.amazonaws.com/x.pem",
        "https://evil.example/sns.us-east-1.amazonaws.com/x.pem",
        "https://evil.example#.sns.us-east-1.amazonaws.com/x.pem",
        "https://evilsns.us-east-1.amazonaws.com/x.pem",
        "https://evil.sns.us-east-1.amazonaws.com/x.pem",
        "https://sns.us-east-1.amazonaws.com:443/x.pem",
        "https://sns.us-east-1.amazonaws.com:8443/x.pem",
        "http://sns.us-east-1.amazonaws.com/x.pem",
        "HTTPS://sns.us-east-1.amazonaws.com/x.pem",
        "//sns.us-east-1.amazonaws.com/x.pem",
        "file:///sns.us-east-1.amazonaws.com/x.pem",
        "https://sns.us-east-1.amazonaws.com/x.pem?a=b",
        "https://sns.us-east-1.amazonaws.com/x.pem#a",
        "https://sns.us-east-1.amazonaws.com/?x.pem",
        "https://sns.us-east-1.amazonaws.com/x.pem.txt",
        "https://sns.us-east-1.amazonaws.com/../x.pem",
        "https://sns.us-east-1.amazonaws.com/%2e%2e/x.pem",
        "https://sns.us-east-1.amazonaws.com/..%2fx.pem",
        "https://sns.us-east-1.amazonaws.com/a/x.pem",
        "https://sns.us-east-1.amazonaws.com/.pem",
        "https://sns.us-east-1.amazonaws.com\\@evil.example/x.pem",
        "https://sns.us-east-1.amazonaws.com/x.pem\n",
        "https://sns.us-east-1.amazonaws%2ecom/x.pem",
        "https://sns.us-east-1%2eamazonaws.com/x.pem",
        "https://sns.us-east-1.amazonaws.com./x.pem",
        "https://SNS.us-east-1.amazonaws.com/x.pem",
        "https://sns.us-east-1.amazonaws.com.cn/x.pem",
        "https://sns.cn-north-1.amazonaws.com/x.pem",
        "https://sns.us-east-1.amazonaws.co/x.pem",
        "https://sns.s3-us-west-2.amazonaws.com/x.pem",
        "https://sns.s3.amazonaws.com/x.pem",
        "https://sns.s3.us-west-2.amazonaws.com/x.pem",
        "https://sns..amazonaws.com/x.pem",
        "https://sns.amazonaws.com/x.pem",
        "https://sns.us-e\u0430st-1.amazonaws.com/x.pem",
        "https://sns.us-east-\u0661.amazonaws.com/x.pem",
        "",
        None,
        1,
        {"url": "https://sns.us-east-1.amazonaws.com/x.pem"},
    ],
)
def test_certificate_url_must_be_that_of_sns(url: object) -> None:
    delivery = with_members(signed(), SigningCertURL=url)
    assert not is_certificate_url(url)
    assert refused(SCHEME, delivery, []) is Reason.SENDER_UNEXPECTED
    assert refused(SCHEME, delivery, [key()]) is Reason.SENDER_UNEXPECTED


@pytest.mark.parametrize("region", ["us-east-1", "eu-central-2", "us-gov-west-1", "ap-southeast-5"])
def test_certificate_urls_of_every_region_are_accepted(region: str) -> None:
    assert is_certificate_url(CERTIFICATE.replace("us-west-2", region))


def test_missing_key_names_the_needed_certificate() -> None:
    with pytest.raises(CertificateNeededError) as raised:
        SCHEME.verify(signed(), [], NOW, TOLERANCE)
    assert raised.value.url == CERTIFICATE
    assert raised.value.reason is Reason.SENDER_UNEXPECTED


@pytest.mark.parametrize(
    "members",
    [{"TopicArn": "other"}, {"Timestamp": "2020-01-01T00:00:00.000Z"}, {"Signature": "AAAA"}],
)
def test_rejected_message_requests_no_certificate(members: Message) -> None:
    with pytest.raises(Exception) as raised:  # noqa: PT011 - which one it is, is what is asked
        SCHEME.verify(with_members(signed(), **members), [], NOW, TOLERANCE)
    assert type(raised.value) is not CertificateNeededError


def test_message_signed_with_another_certificate_is_rejected() -> None:
    other = SCHEME.key("other", certificate(private("other")))
    assert refused(SCHEME, signed(), [other]) is Reason.SIGNATURE_WRONG
    assert verified(SCHEME, signed(), [other, key()]).key_id == "aws-2023"


def test_expired_certificate_is_rejected() -> None:
    old = SCHEME.key("old", certificate(days=-1))
    assert refused(SCHEME, signed(), [old]) is Reason.SENDER_UNEXPECTED


def test_key_must_be_one_rsa_certificate() -> None:
    small = rsa.generate_private_key(65537, 1024)
    pem = small.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for text in (
        b"",
        b"secret secret secret",
        certificate() + certificate(),
        certificate(ec.generate_private_key(ec.SECP256R1())),
        certificate(small),
        pem,
        certificate()[:-40],
    ):
        with pytest.raises(KeyFormatError):
            SCHEME.key("k", text)


def test_scheme_needs_a_topic() -> None:
    with pytest.raises(ValueError, match="topic"):
        SNS([])


def test_replay_is_recognized_by_its_id() -> None:
    first = verified(SCHEME, signed(), [key()]).replay
    assert verified(SCHEME, signed(version="1"), [key()]).replay == first
    assert verified(SCHEME, signed(notification(MessageId="other")), [key()]).replay != first


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_signed_message_is_verified(text: str) -> None:
    assert verified(SCHEME, signed(notification(Message=text)), [key()])
