"""Amazon SNS: an RSA signature over named members of the message, with a certificate of AWS.

Only line breaks separate the signed values, so only the message itself may contain one; then each
signed text belongs to exactly one message. The attributes and URLs of a notification are not
signed. The signature proves that AWS sent the message, but not to which subscriber, so the topic
must be one that the endpoint names. The body is parsed, strictly, before anything is verified.

https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from troth.pki.encodings import strict_json
from troth.pki.encodings.pem import public_key, read_certificates
from troth.pki.errors import CertificateError
from troth.webhooks.schemes.delivery import Delivery, Reason, RefusedError
from troth.webhooks.schemes.fields.encodings import from_base64, to_base64
from troth.webhooks.schemes.fields.identifiers import claimed_in_body
from troth.webhooks.schemes.fields.timestamps import check_time
from troth.webhooks.schemes.providers.sns.certificate_urls import (
    CertificateNeededError,
    is_certificate_url,
)
from troth.webhooks.schemes.scheme import Key, KeyFormatError, Stamp, Verified, replay_of
from troth.webhooks.schemes.signatures.asymmetric import (
    RSA_PKCS1,
    RSA_SHA1,
    Pair,
    checked,
    is_for,
    is_signed,
    make_signature,
    read_pair,
)

_RSA = "rsa"
_VERSIONS = {"1": RSA_SHA1, "2": RSA_PKCS1}
_NOTIFICATION = ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
_CONFIRMATION = ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
_SIGNED = {
    "Notification": _NOTIFICATION,
    "SubscriptionConfirmation": _CONFIRMATION,
    "UnsubscribeConfirmation": _CONFIRMATION,
}
_OPTIONAL = frozenset({"Subject"})
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?Z")
_LINE_BREAKS = re.compile(r"[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
_SIGNATURE_BYTES = range(256, 1025)
_MOST_VALUES = 2000
"""Maximum number of values in a message: about ten, and three for each of its attributes."""


@dataclass(frozen=True, slots=True)
class _Signer:
    """Key with the validity of its certificate, in seconds since the epoch."""

    pair: Pair = field(repr=False)
    begins: float = float("-inf")
    ends: float = float("inf")


class SNS:
    """The members `Signature`, `SignatureVersion` and `SigningCertURL` of the body."""

    signs_timestamp = True

    def __init__(self, topics: Sequence[str]) -> None:
        """`topics` are the ARNs of the topics that may send; raises `ValueError` without any."""
        if not topics:
            raise ValueError(
                "SNS needs the ARN of a topic, because AWS signs for everybody's topics"
            )
        self._topics = tuple(topics)

    def key(self, key_id: str, text: bytes) -> Key:
        """Return the key of one certificate in PEM, or of a private key for signing.

        Raises `KeyFormatError`.
        """
        if b"PRIVATE KEY-----" in text:
            return Key(key_id, _RSA, _Signer(_of_rsa(read_pair(text))))
        try:
            certificates = read_certificates(text, "the key")
        except CertificateError:
            raise KeyFormatError(
                "not a certificate in PEM; write the whole certificate that SigningCertURL names"
            ) from None
        if len(certificates) != 1:
            raise KeyFormatError("several certificates; write each one under its own key")
        (certificate,) = certificates
        return Key(
            key_id,
            _RSA,
            _Signer(
                _of_rsa(Pair(checked(public_key(certificate)))),
                certificate.not_valid_before_utc.timestamp(),
                certificate.not_valid_after_utc.timestamp(),
            ),
        )

    def verify(
        self, delivery: Delivery, keys: Sequence[Key], now: float, tolerance: float
    ) -> Verified:
        """Return the verified facts of a delivery; raises `RefusedError`.

        Without keys it raises `CertificateNeededError` if everything else about the message is
        valid.
        """
        message = _read(delivery.body)
        if message["TopicArn"] not in self._topics:
            raise RefusedError(
                Reason.SENDER_UNEXPECTED,
                "the message is from a topic that the endpoint does not accept",
            )
        url = message.get("SigningCertURL")
        if not is_certificate_url(url):
            raise RefusedError(
                Reason.SENDER_UNEXPECTED, "SigningCertURL is not an SNS certificate URL"
            )
        timestamp = _moment(message["Timestamp"])
        check_time(timestamp, now, tolerance)
        algorithm, signature = _signature(message)
        if not keys:
            assert isinstance(url, str)
            raise CertificateNeededError(url)
        key_id = _signer(keys, algorithm, _text(message), signature, now)
        found = message["MessageId"]
        replay = replay_of(b"id", message["TopicArn"].encode(), found.encode())
        return Verified(key_id, replay, found, int(timestamp))

    def claimed_id(self, delivery: Delivery) -> str | None:
        """Return the ID that an unverified delivery claims."""
        return claimed_in_body(delivery.body, "MessageId")

    def sign(self, delivery: Delivery, key: Key, stamp: Stamp) -> Delivery:
        """Return the delivery with its signature; its body becomes the message of a notification.

        If the body is a notification already, it gets another time, ID and signature.
        """
        signer = key.material
        assert isinstance(signer, _Signer)
        if signer.pair.private is None:
            raise KeyFormatError("a certificate; to sign, use the private key in PEM")
        moment = datetime.fromtimestamp(stamp.now, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        message = {
            **(_notification(delivery.body) or self._wrapped(delivery.body)),
            "MessageId": stamp.delivery_id,
            "Timestamp": moment,
            "SignatureVersion": "2",
        }
        signature = make_signature(signer.pair.private, RSA_PKCS1, _text(message))
        message["Signature"] = to_base64(signature)
        return Delivery(
            delivery.method, delivery.target, delivery.headers, json.dumps(message).encode()
        )

    def _wrapped(self, body: bytes) -> dict[str, str]:
        topic = self._topics[0]
        partition, _, region = [*topic.split(":"), "", "", ""][1:4]
        china = ".cn" if partition == "aws-cn" else ""
        host = f"sns.{region or 'us-east-1'}.amazonaws.com{china}"
        return {
            "Type": "Notification",
            "TopicArn": topic,
            "Message": body.decode(errors="replace"),
            "SigningCertURL": f"https://{host}/SimpleNotificationService-0.pem",
        }


def _of_rsa(pair: Pair) -> Pair:
    if not is_for(pair.public, RSA_PKCS1):
        raise KeyFormatError("not an RSA key; SNS uses no other kind")
    return pair


def _read(body: bytes) -> Mapping[str, str]:
    """Return the members of a message that are text, including all that are signed."""
    try:
        document = strict_json.parse(body, most=_MOST_VALUES)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RefusedError(
            Reason.BODY_MALFORMED,
            "the body is not a JSON object as SNS sends it; turn off raw message delivery, which "
            "has no signature",
        )
    message = {name: value for name, value in document.items() if isinstance(value, str)}
    names = _SIGNED.get(message.get("Type", ""))
    if names is None:
        raise RefusedError(Reason.BODY_MALFORMED, "the message has no Type that SNS sends")
    for name in names:
        value = message.get(name)
        if value is None:
            if name in _OPTIONAL and document.get(name) is None:
                continue
            raise RefusedError(Reason.BODY_MALFORMED, f"the message has no string {name}")
        if not _is_text(name, value):
            raise RefusedError(Reason.BODY_MALFORMED, f"{name} is not a text that can be signed")
    return message


def _is_text(name: str, value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:  # an unpaired surrogate
        return False
    return name == "Message" or (value != "" and _LINE_BREAKS.search(value) is None)


def _notification(body: bytes) -> dict[str, str] | None:
    try:
        return dict(_read(body))
    except RefusedError:
        return None


def _text(message: Mapping[str, str]) -> bytes:
    names = _SIGNED[message["Type"]]
    return "".join(f"{name}\n{message[name]}\n" for name in names if name in message).encode()


def _moment(text: str) -> float:
    try:
        # the pattern allows days that do not exist
        return datetime.fromisoformat(text if _TIME.fullmatch(text) else "").timestamp()
    except ValueError:
        raise RefusedError(
            Reason.TIMESTAMP_MALFORMED, "Timestamp is not in the format of SNS"
        ) from None


def _signature(message: Mapping[str, str]) -> tuple[str, bytes]:
    algorithm = _VERSIONS.get(message.get("SignatureVersion", ""))
    if algorithm is None:
        raise RefusedError(Reason.SIGNATURE_MALFORMED, "SignatureVersion is neither 1 nor 2")
    text = message.get("Signature")
    if not text:
        raise RefusedError(Reason.SIGNATURE_MISSING, "the message has no Signature")
    try:
        signature = from_base64(text)
    except ValueError:
        signature = b""
    if len(signature) not in _SIGNATURE_BYTES:
        raise RefusedError(Reason.SIGNATURE_MALFORMED, "Signature is not a signature in base64")
    return algorithm, signature


def _signer(keys: Sequence[Key], algorithm: str, text: bytes, signature: bytes, now: float) -> str:
    for key in keys:
        signer = key.material
        if not isinstance(signer, _Signer):
            continue
        if is_signed(signer.pair.public, algorithm, text, signature):
            if not signer.begins <= now <= signer.ends:
                raise RefusedError(
                    Reason.SENDER_UNEXPECTED, "the certificate that made the signature is not valid"
                )
            return key.id
    raise RefusedError(Reason.SIGNATURE_WRONG, "no certificate of the endpoint made the signature")
