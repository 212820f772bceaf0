"""HTTP message signatures: required components, and keys pinned to an algorithm."""

import base64
import hashlib
import hmac
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache

import http_message_signatures as other
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.webhooks.schemes.deliveries import (
    NOW,
    STAMP,
    TOLERANCE,
    Change,
    changed,
    edited,
    flipped,
    post,
    refused,
    twice,
    verified,
    with_header,
    without,
)
from troth.webhooks.schemes.delivery import Delivery, Reason
from troth.webhooks.schemes.fields.addresses import Address
from troth.webhooks.schemes.providers.http_signatures import structured
from troth.webhooks.schemes.providers.http_signatures.scheme import HTTPSignatures
from troth.webhooks.schemes.providers.http_signatures.signature_base import signature_base
from troth.webhooks.schemes.providers.http_signatures.structured import read_signatures
from troth.webhooks.schemes.scheme import Key, KeyFormatError, Stamp
from troth.webhooks.schemes.signatures.asymmetric import (
    Private,
    checked,
    is_signed,
    make_signature,
    read_pair,
)

URL = "https://hooks.example.com/shop/hook"
SCHEME = HTTPSignatures(URL)
SECRET = b"hmac-sha256:" + base64.b64encode(bytes(range(32)))
REQUIRED = ("@method", "@target-uri", "content-digest")
ALGORITHMS: dict[str, type[other.HTTPSignatureAlgorithm]] = {
    "hmac-sha256": other.algorithms.HMAC_SHA256,
    "ed25519": other.algorithms.ED25519,
    "ecdsa-p256-sha256": other.algorithms.ECDSA_P256_SHA256,
    "rsa-pss-sha512": other.algorithms.RSA_PSS_SHA512,
    "rsa-v1_5-sha256": other.algorithms.RSA_V1_5_SHA256,
}


@cache
def private(algorithm: str) -> Private:
    match algorithm:
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "ecdsa-p256-sha256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return rsa.generate_private_key(65537, 2048)


def private_pem(algorithm: str) -> bytes:
    return private(algorithm).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(algorithm: str) -> bytes:
    key = private(algorithm).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def signing_key(algorithm: str, key_id: str = "partner") -> Key:
    if algorithm == "hmac-sha256":
        return SCHEME.key(key_id, SECRET)
    return SCHEME.key(key_id, f"{algorithm}:\n".encode() + private_pem(algorithm))


def verifying_key(algorithm: str, key_id: str = "partner") -> Key:
    if algorithm == "hmac-sha256":
        return SCHEME.key(key_id, SECRET)
    return SCHEME.key(key_id, f"{algorithm}: ".encode() + public_pem(algorithm))


KEY = signing_key("hmac-sha256")


def signed(delivery: Delivery | None = None, key: Key = KEY) -> Delivery:
    return SCHEME.sign(delivery or post(b'{"a": 1}', "/shop/hook?b=c"), key, STAMP)


def by_hand(
    covered: Sequence[str] = REQUIRED,
    parameters: str = f";created={NOW}",
    body: bytes = b"{}",
    target: str = "/shop/hook",
    label: str = "sig1",
    **headers: str,
) -> Delivery:
    """Signed with the shared secret, whatever it covers and says."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    delivery = post(body, target, content_digest=f"sha-256=:{digest}:", **headers)
    names = " ".join(f'"{name}"' for name in covered)
    text = f"({names}){parameters}"
    base = signature_base(delivery, Address.parse(URL), tuple(covered), text)
    mac = base64.b64encode(hmac.digest(bytes(range(32)), base, "sha256")).decode()
    return delivery.with_headers(
        [("signature-input", f"{label}={text}"), ("signature", f"{label}=:{mac}:")]
    )


# The vectors of RFC 9421, appendix B.2

B2_BODY = b'{"hello": "world"}'
B2_REQUEST = post(
    B2_BODY,
    "/foo?param=Value&Pet=dog",
    host="example.com",
    date="Tue, 20 Apr 2021 02:07:55 GMT",
    content_type="application/json",
    content_digest="sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm"
    "+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:",
    content_length="18",
)
B2_CREATED = 1618884473
B2_SECRET = (
    "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ=="
)
B2_ED25519 = "JrQLj5P/89iXES9+vFgrIy29clF9CC/oPPsw3c5D0bs="
B2_RSA = (
    "r4tmm3r20Wd_PbqvP1s2-QEtvpuRaV8Yq40gjUR8y2Rjxa6dpG2GXHbPfvMs8ct-Lh1GH45x28Rw3Ry53mm-oAXjyQ86"
    "OnDkZ5N8lYbggD4O3w6M6pAvLkhk95AndTrifbIFPNU8PPMO7OyrFAHqgDsznjPFmTOtCEcN2Z1FpWgchwuYLPL-Wokq"
    "ltd11nqqzi-bJ9cvSKADYdUAAN5WUtzdpiy6LbTgSxP7ociU4Tn0g5I6aDZJ7A8Lzo0KSyZYoA485mqcO0GVAdVw9lq4"
    "aOT9v6d-nb4bnNkQVklLQ3fVAvJm-xdDOp9LCNCN48V2pnDOkFV6-U9nV5oyc6XI2w=="
)
B2_ADDRESS = Address.parse("https://example.com/foo")


def b2_base(signature_input: str, signature: str) -> tuple[bytes, bytes]:
    delivery = B2_REQUEST.with_headers(
        [("signature-input", signature_input), ("signature", signature)]
    )
    (each,) = read_signatures(delivery)
    return signature_base(delivery, B2_ADDRESS, each.covered, each.text), each.signature


B26_INPUT = (
    'sig-b26=("date" "@method" "@path" "@authority" "content-type" "content-length")'
    ';created=1618884473;keyid="test-key-ed25519"'
)


def test_b_2_6_a_request_signed_with_ed25519() -> None:
    base, signature = b2_base(
        B26_INPUT,
        "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WP"
        "pBKRCw==:",
    )
    key = ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(B2_ED25519))
    assert is_signed(key, "ed25519", base, signature)
    assert base.decode().splitlines() == [
        '"date": Tue, 20 Apr 2021 02:07:55 GMT',
        '"@method": POST',
        '"@path": /foo',
        '"@authority": example.com',
        '"content-type": application/json',
        '"content-length": 18',
        '"@signature-params": ' + B26_INPUT.removeprefix("sig-b26="),
    ]
    assert not is_signed(key, "ed25519", base + b" ", signature)


def test_b_2_5_a_request_signed_with_a_shared_secret() -> None:
    base, signature = b2_base(
        'sig-b25=("date" "@authority" "content-type");created=1618884473;'
        'keyid="test-shared-secret"',
        "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:",
    )
    assert hmac.digest(base64.b64decode(B2_SECRET), base, "sha256") == signature


def b2_rsa() -> rsa.RSAPublicKey:
    return rsa.RSAPublicNumbers(
        65537, int.from_bytes(base64.urlsafe_b64decode(B2_RSA))
    ).public_key()


B21_INPUT = 'sig-b21=();created=1618884473;keyid="test-key-rsa-pss";nonce="b3k2pp5k7z-50gnwp.yemd"'
B21_SIGNATURE = (
    "sig-b21=:d2pmTvmbncD3xQm8E9ZV2828BjQWGgiwAaw5bAkgibUopemLJcWDy/lkbbHAve4cRAtx31Iq786U7it++w"
    "gGxbtRxf8Udx7zFZsckzXaJMkA7ChG52eSkFxykJeNqsrWH5S+oxNFlD4dzVuwe8DhTSja8xxbR/Z2cOGdCbzR72rgF"
    "Whzx2VjBqJzsPLMIQKhO4DGezXehhWwE56YCE+O6c0mKZsfxVrogUvA4HELjVKWmAvtl6UnCh8jYzuVG5WSb/QEVPnP"
    "5TmcAnLH1g+s++v6d4s8m0gCw1fV5/SITLq9mhho8K3+7EPYTU8IU1bLhdxO5Nyt8C8ssinQ98Xw9Q==:"
)
B22_INPUT = (
    'sig-b22=("@authority" "content-digest" "@query-param";name="Pet");created=1618884473;'
    'keyid="test-key-rsa-pss";tag="header-example"'
)
B23_INPUT = (
    'sig-b23=("date" "@method" "@path" "@query" "@authority" "content-type" "content-digest" '
    '"content-length");created=1618884473;keyid="test-key-rsa-pss"'
)
B23_SIGNATURE = (
    "sig-b23=:bbN8oArOxYoyylQQUU6QYwrTuaxLwjAC9fbY2F6SVWvh0yBiMIRGOnMYwZ/5MR6fb0Kh1rIRASVxFkeGt6"
    "83+qRpRRU5p2voTp768ZrCUb38K0fUxN0O0iC59DzYx8DFll5GmydPxSmme9v6ULbMFkl+V5B1TP/yPViV7KsLNmvKi"
    "LJH1pFkh/aYA2HXXZzNBXmIkoQoLd7YfW91kE9o/CCoC1xMy7JA1ipwvKvfrs65ldmlu9bpG6A9BmzhuzF8Eim5f8ui"
    "9eH8LZH896+QIF61ka39VBrohr9iyMUJpvRX2Zbhl5ZJzSRxpJyoEZAFL2FUo5fTIztsDZKEgM4cUA==:"
)


@pytest.mark.parametrize(
    ("signature_input", "signature"), [(B21_INPUT, B21_SIGNATURE), (B23_INPUT, B23_SIGNATURE)]
)
def test_b_2_1_and_b_2_3_requests_signed_with_rsa_pss(signature_input: str, signature: str) -> None:
    base, value = b2_base(signature_input, signature)
    assert is_signed(b2_rsa(), "rsa-pss-sha512", base, value)
    assert not is_signed(b2_rsa(), "rsa-v1_5-sha256", base, value)


def test_b_2_3_with_all_required_components_is_verified() -> None:
    pem = b2_rsa().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    scheme = HTTPSignatures("https://example.com/foo", ["date", "content-type"])
    key = scheme.key("test-key-rsa-pss", b"rsa-pss-sha512:" + pem)
    delivery = B2_REQUEST.with_headers(
        [("signature-input", B23_INPUT), ("signature", B23_SIGNATURE)]
    )
    known = scheme.verify(delivery, [key], B2_CREATED, TOLERANCE)
    assert (known.key_id, known.timestamp) == ("test-key-rsa-pss", B2_CREATED)
    for change in (
        without("date"),
        edited("date", lambda text: f"{text} "[:-2]),
        with_header("content-type", "text/plain"),
        lambda each: changed(each, target=b"/foo?param=Value&Pet=cat"),
        lambda each: changed(each, method="PUT"),
    ):
        with pytest.raises(Exception, match=r"made|missing"):
            scheme.verify(change(delivery), [key], B2_CREATED, TOLERANCE)


def test_b_2_2_component_with_parameters_is_rejected() -> None:
    delivery = B2_REQUEST.with_headers(
        [("signature-input", B22_INPUT), ("signature", "sig-b22=:AAAA:")]
    )
    assert refused(SCHEME, delivery, [KEY]) is Reason.SIGNATURE_MALFORMED


# Another implementation, both ways


class Resolver(other.HTTPSignatureKeyResolver):
    def __init__(self, algorithm: str) -> None:
        shared = bytes(range(32))
        hmac_ = algorithm == "hmac-sha256"
        self.public = shared if hmac_ else private(algorithm).public_key()
        self.private = shared if hmac_ else private(algorithm)

    def resolve_public_key(self, key_id: str) -> object:  # noqa: ARG002
        return self.public

    def resolve_private_key(self, key_id: str) -> object:  # noqa: ARG002
        return self.private


def request_of(delivery: Delivery, url: str = URL) -> requests.PreparedRequest:
    query = delivery.target.decode().partition("?")[1:]
    headers = {name.decode(): value.decode() for name, value in delivery.headers}
    return requests.Request(
        delivery.method, url + "".join(query), headers, data=delivery.body
    ).prepare()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize(
    "covered",
    [
        REQUIRED,
        ("@method", "@authority", "@path", "@query", "content-digest"),
        ("content-digest", "@request-target", "@authority", "@scheme", "@method", "content-type"),
    ],
)
def test_signatures_of_the_other_implementation_are_verified(
    algorithm: str, covered: tuple[str, ...]
) -> None:
    body = b'{"a": 1}'
    request = requests.Request(
        "POST", f"{URL}?b=c%20d", {"Content-Type": "application/json"}, data=body
    ).prepare()
    signer = other.HTTPMessageSigner(
        signature_algorithm=ALGORITHMS[algorithm], key_resolver=Resolver(algorithm)
    )
    created = datetime.fromtimestamp(NOW, UTC)
    signer.sign(
        request,
        key_id="partner",
        created=created,
        expires=created + timedelta(seconds=60),
        nonce="n-1",
        covered_component_ids=covered,
        body=body,
    )
    headers = {name.replace("-", "_").lower(): value for name, value in request.headers.items()}
    delivery = post(body, "/shop/hook?b=c%20d", **headers)
    known = verified(SCHEME, delivery, [verifying_key(algorithm)])
    assert (known.key_id, known.delivery_id, known.timestamp) == ("partner", "n-1", NOW)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_other_implementation_verifies_own_signatures(algorithm: str) -> None:
    now = int(datetime.now(UTC).timestamp())
    delivery = SCHEME.sign(
        post(b'{"a": 1}', "/shop/hook?b=c"), signing_key(algorithm), Stamp(now, "n-1")
    )
    verifier = other.HTTPMessageVerifier(
        signature_algorithm=ALGORITHMS[algorithm], key_resolver=Resolver(algorithm)
    )
    (result,) = verifier.verify(request_of(delivery), max_age=timedelta(hours=1))
    assert result.parameters["nonce"] == "n-1"


# Keys


def test_key_states_its_algorithm() -> None:
    for algorithm in ALGORITHMS:
        assert verifying_key(algorithm).algorithm == algorithm
    for algorithm in ("ed25519", "ecdsa-p256-sha256"):
        assert SCHEME.key("k", public_pem(algorithm)).algorithm == algorithm


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"secret secret secret secret",
        b"hmac-sha256:",
        b"hmac-sha256:c2hvcnQ=",
        b"hmac-sha256:not base64 not base64",
        b"hmac-sha256:\xff",
        b"none:" + base64.b64encode(bytes(32)),
        b"ed25519:" + base64.b64encode(bytes(32)),
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
    ],
)
def test_key_without_algorithm_is_rejected_with_a_message(text: bytes) -> None:
    with pytest.raises(KeyFormatError) as raised:
        SCHEME.key("k", text)
    given = text.partition(b":")[2].decode("latin-1")
    assert not given or given not in str(raised.value)


def test_rsa_key_without_algorithm_is_rejected() -> None:
    with pytest.raises(KeyFormatError, match="one algorithm"):
        SCHEME.key("k", public_pem("rsa-pss-sha512"))


def test_key_must_fit_its_algorithm() -> None:
    for algorithm, of in (("ed25519", "rsa-pss-sha512"), ("rsa-v1_5-sha256", "ed25519")):
        with pytest.raises(KeyFormatError, match="does not fit the algorithm"):
            SCHEME.key("k", f"{algorithm}:".encode() + public_pem(of))


def test_public_key_is_never_a_shared_secret() -> None:
    """The confusion of HS and RS: whoever knows the public key would make MACs with it."""
    pem = public_pem("ed25519")
    with pytest.raises(KeyFormatError):
        SCHEME.key("k", b"hmac-sha256:" + pem)
    delivery = by_hand(parameters=f';created={NOW};keyid="partner";alg="hmac-sha256"')
    text = delivery.header(b"signature-input").removeprefix("sig1=")
    base = signature_base(delivery, Address.parse(URL), REQUIRED, text)
    mac = base64.b64encode(hmac.digest(pem, base, "sha256")).decode()
    delivery = with_header("signature", f"sig1=:{mac}:")(delivery)
    assert refused(SCHEME, delivery, [verifying_key("ed25519")]) is Reason.SIGNATURE_WRONG


@pytest.mark.parametrize("said", ["none", "", "rsa-v1_5-sha256", "HMAC-SHA256", "hmac-sha1"])
def test_alg_must_be_the_keys_algorithm(said: str) -> None:
    good = by_hand(parameters=f';created={NOW};alg="hmac-sha256"')
    assert verified(SCHEME, good, [KEY])
    delivery = by_hand(parameters=f';created={NOW};alg="{said}"')
    assert refused(SCHEME, delivery, [KEY]) is Reason.SIGNATURE_WRONG


def test_keyid_of_one_key_excludes_the_others() -> None:
    keys = [verifying_key("ed25519", "other"), KEY]
    delivery = by_hand(parameters=f';created={NOW};alg="ed25519"')
    assert refused(SCHEME, delivery, keys) is Reason.SIGNATURE_WRONG
    delivery = by_hand(parameters=f';created={NOW};alg="hmac-sha256"')
    assert verified(SCHEME, delivery, keys).key_id == "partner"


def test_rsa_signature_with_the_other_algorithm_is_rejected() -> None:
    text = private_pem("rsa-pss-sha512")
    one = SCHEME.key("partner", b"rsa-v1_5-sha256:" + text)
    pair = read_pair(public_pem("rsa-pss-sha512"))
    delivery = SCHEME.sign(post(), one, STAMP)
    assert verified(SCHEME, delivery, [Key("partner", "rsa-v1_5-sha256", pair)])
    only_pss = Key("partner", "rsa-pss-sha512", pair)
    assert refused(SCHEME, delivery, [only_pss]) is Reason.SIGNATURE_WRONG


def test_keyid_selects_only_among_the_keys() -> None:
    keys = [KEY, verifying_key("ed25519", "other")]
    for named in ("partner", "unknown", "../../etc/passwd", "https://evil.example/key", "' or 1=1"):
        delivery = by_hand(parameters=f';created={NOW};keyid="{named}"')
        assert verified(SCHEME, delivery, keys).key_id == "partner"
    delivery = by_hand(parameters=f';created={NOW};keyid="other"')
    assert refused(SCHEME, delivery, keys) is Reason.SIGNATURE_WRONG


@pytest.mark.parametrize("name", ["jku", "x5u", "jwk", "x5c"])
def test_key_urls_are_ignored(name: str) -> None:
    stranger = SCHEME.key("partner", b"hmac-sha256:" + base64.b64encode(bytes(32)))
    delivery = by_hand(parameters=f';created={NOW};{name}="https://evil.example/keys"')
    assert refused(SCHEME, delivery, [stranger]) is Reason.SIGNATURE_WRONG


def test_signing_with_a_public_key_is_rejected() -> None:
    with pytest.raises(KeyFormatError, match="private"):
        SCHEME.sign(post(), verifying_key("ed25519"), STAMP)


# What is covered


@pytest.mark.parametrize("left_out", REQUIRED)
def test_missing_required_component_is_rejected(left_out: str) -> None:
    delivery = by_hand([name for name in REQUIRED if name != left_out])
    assert refused(SCHEME, delivery, [KEY]) is Reason.NOT_COVERED


@pytest.mark.parametrize(
    ("covered", "target", "whole"),
    [
        (("@authority", "@path"), "/shop/hook", True),
        (("@authority", "@path"), "/shop/hook?a=b", False),
        (("@authority", "@path"), "/shop/hook?", False),
        (("@authority", "@path", "@query"), "/shop/hook?a=b", True),
        (("@authority", "@request-target"), "/shop/hook?a=b", True),
        (("@request-target",), "/shop/hook", False),
        (("@path",), "/shop/hook", False),
        (("host", "@path"), "/shop/hook", False),
        (("@authority", "@query"), "/shop/hook?a=b", False),
    ],
)
def test_target_may_be_covered_in_parts(covered: tuple[str, ...], target: str, whole: bool) -> None:
    delivery = by_hand(("@method", "content-digest", *covered), target=target, host="a")
    if whole:
        assert verified(SCHEME, delivery, [KEY])
    else:
        assert refused(SCHEME, delivery, [KEY]) is Reason.NOT_COVERED


def test_configured_components_are_required() -> None:
    scheme = HTTPSignatures(URL, ["x-event"])
    assert refused(scheme, by_hand(x_event="paid"), [KEY]) is Reason.NOT_COVERED
    assert verified(scheme, by_hand((*REQUIRED, "x-event"), x_event="paid"), [KEY])
    assert verified(scheme, scheme.sign(post(x_event="paid"), KEY, STAMP), [KEY])
    for bad in ("X-Event", "@query-param", "@status", "", "a b"):
        with pytest.raises(ValueError, match="component"):
            HTTPSignatures(URL, [bad])


def test_host_and_path_come_from_the_configuration() -> None:
    delivery = by_hand(("@method", "@authority", "@path", "content-digest"))
    assert verified(SCHEME, changed(delivery, target=b"/elsewhere"), [KEY])
    assert verified(SCHEME, delivery.with_headers([("host", "evil.example")]), [KEY])
    other_url = HTTPSignatures("https://evil.example/shop/hook")
    stolen = other_url.sign(post(host="evil.example"), KEY, STAMP)
    assert refused(SCHEME, stolen, [KEY]) is Reason.SIGNATURE_WRONG


# What is refused


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without("signature"), Reason.SIGNATURE_MISSING),
        (without("signature-input"), Reason.SIGNATURE_MISSING),
        (with_header("signature", ""), Reason.SIGNATURE_MALFORMED),
        (with_header("signature-input", ""), Reason.SIGNATURE_MISSING),
        (twice("signature"), Reason.HEADER_REPEATED),
        (twice("signature-input"), Reason.HEADER_REPEATED),
        (twice("content-digest"), Reason.HEADER_REPEATED),
        (without("content-digest"), Reason.NOT_COVERED),
        (edited("signature", flipped), Reason.SIGNATURE_WRONG),
        (edited("signature", lambda text: text[:-2] + ":"), Reason.SIGNATURE_MALFORMED),
        (
            edited("signature", lambda text: text.replace("sig1", "sig2")),
            Reason.SIGNATURE_MALFORMED,
        ),
        (edited("signature", lambda text: f"{text}, {text}"), Reason.SIGNATURE_MALFORMED),
        (edited("signature", lambda text: f"{text}, a=:AAAA:"), Reason.SIGNATURE_MALFORMED),
        (with_header("signature", "sig1=:AB==:"), Reason.SIGNATURE_MALFORMED),
        (with_header("signature", "sig1=AAAA"), Reason.SIGNATURE_MALFORMED),
        (with_header("signature", "sig1=::"), Reason.SIGNATURE_WRONG),
        (with_header("signature", "sig1"), Reason.SIGNATURE_MALFORMED),
        (edited("signature-input", lambda text: text + ";a"), Reason.SIGNATURE_WRONG),
        (edited("signature-input", lambda text: text + ",b=()"), Reason.SIGNATURE_MALFORMED),
        (edited("signature-input", lambda text: text + ","), Reason.SIGNATURE_MALFORMED),
        (
            edited("signature-input", lambda text: f"{text};{'a' * 20_000}"),
            Reason.SIGNATURE_MALFORMED,
        ),
        (with_header("signature-input", 'sig1="@method"'), Reason.SIGNATURE_MALFORMED),
        (with_header("signature-input", "sig1=(1)"), Reason.SIGNATURE_MALFORMED),
        (with_header("signature-input", 'sig1=("a" "a")'), Reason.SIGNATURE_MALFORMED),
        (with_header("signature-input", 'sig1=("a";sf)'), Reason.SIGNATURE_MALFORMED),
        (with_header("signature-input", "sig1=(@method)"), Reason.SIGNATURE_MALFORMED),
        (edited("signature-input", lambda text: f"{text};created=1"), Reason.SIGNATURE_MALFORMED),
        (lambda each: changed(each, body=b"{}"), Reason.CONTENT_CHANGED),
        (lambda each: changed(each, method="PUT"), Reason.SIGNATURE_WRONG),
        (lambda each: changed(each, target=b"/shop/hook"), Reason.SIGNATURE_WRONG),
        (lambda each: changed(each, target=b"/shop/hook\xff"), Reason.SIGNATURE_MALFORMED),
        (with_header("content-digest", "sha-256=:AAAA:"), Reason.SIGNATURE_WRONG),
    ],
)
def test_altered_delivery_is_rejected(change: Change, reason: Reason) -> None:
    assert refused(SCHEME, change(signed()), [KEY]) is reason


def test_too_many_signatures_are_rejected() -> None:
    signatures, inputs = (
        ", ".join(f"a{number}={member}" for number in range(5)) for member in (":AAAA:", "()")
    )
    delivery = signed().with_headers([("signature", signatures), ("signature-input", inputs)])
    assert refused(SCHEME, delivery, [KEY]) is Reason.TOO_MANY_SIGNATURES


@pytest.mark.parametrize(
    ("digest", "reason"),
    [
        ("md5=:AAAA:", Reason.NOT_COVERED),
        ("sha=:AAAA:, crc32c=:AAAA:", Reason.NOT_COVERED),
        ("", Reason.NOT_COVERED),
        ("sha-256=AAAA", Reason.SIGNATURE_MALFORMED),
        ("sha-256=:AAAA:;a", Reason.SIGNATURE_MALFORMED),
        ("sha-256=:AAAA:, sha-256={good}", Reason.SIGNATURE_MALFORMED),
        ("sha-256=::", Reason.CONTENT_CHANGED),
        ("sha-256={good}, sha-512=:AAAA:", Reason.CONTENT_CHANGED),
        ("SHA-256={good}", Reason.SIGNATURE_MALFORMED),
    ],
)
def test_signed_digest_must_be_the_bodys(digest: str, reason: Reason) -> None:
    good = base64.b64encode(hashlib.sha256(b"{}").digest()).decode()
    delivery = post(b"{}", content_digest=digest.format(good=f":{good}:"))
    text = f'("@method" "@target-uri" "content-digest");created={NOW}'
    base = signature_base(delivery, Address.parse(URL), REQUIRED, text)
    mac = base64.b64encode(hmac.digest(bytes(range(32)), base, "sha256")).decode()
    delivery = delivery.with_headers(
        [("signature-input", f"a={text}"), ("signature", f"a=:{mac}:")]
    )
    assert refused(SCHEME, delivery, [KEY]) is reason


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ("", Reason.NOT_COVERED),
        (f';created="{NOW}"', Reason.TIMESTAMP_MALFORMED),
        (f";created={NOW}.5", Reason.TIMESTAMP_MALFORMED),
        (f";created=@{NOW}", Reason.TIMESTAMP_MALFORMED),
        (";created", Reason.TIMESTAMP_MALFORMED),
        (";created=-1", Reason.TIMESTAMP_MALFORMED),
        (f";created={NOW - TOLERANCE - 1}", Reason.TIMESTAMP_TOO_OLD),
        (f";created={NOW + TOLERANCE + 1}", Reason.TIMESTAMP_TOO_NEW),
        (f";created={NOW - 20};expires={NOW - 10}", Reason.TIMESTAMP_TOO_OLD),
        (f';created={NOW};expires="never"', Reason.TIMESTAMP_MALFORMED),
        (f";created={NOW};nonce=1", Reason.SIGNATURE_MALFORMED),
        (f";created={NOW};keyid=partner", Reason.SIGNATURE_MALFORMED),
        (f";created={NOW};alg=hmac-sha256", Reason.SIGNATURE_MALFORMED),
    ],
)
def test_invalid_parameter_is_rejected(parameters: str, reason: Reason) -> None:
    assert refused(SCHEME, by_hand(parameters=parameters), [KEY]) is reason


def test_time_at_the_tolerance_is_accepted() -> None:
    for created in (NOW - TOLERANCE, NOW + TOLERANCE):
        assert verified(SCHEME, by_hand(parameters=f";created={created}"), [KEY])
    assert verified(SCHEME, by_hand(parameters=f";created={NOW};expires={NOW}"), [KEY])


def merged(*deliveries: Delivery) -> Delivery:
    return deliveries[0].with_headers(
        (name, ", ".join(each.header(name.encode()) for each in deliveries))
        for name in ("signature", "signature-input")
    )


def test_one_valid_signature_of_several_is_enough() -> None:
    """A proxy adds its own, which covers something else and is by a key of its own."""
    good = by_hand()
    proxy = with_header("signature", "proxy=:AAAA:")(by_hand(["@method"], label="proxy"))
    for delivery in (merged(good, proxy), merged(proxy, good)):
        assert verified(SCHEME, delivery, [KEY]).key_id == "partner"
    assert refused(SCHEME, merged(proxy, by_hand(["@method"])), [KEY]) is Reason.NOT_COVERED


@pytest.mark.parametrize("nonce", ["", ';nonce="n-1"'])
def test_delivery_with_two_signatures_is_one_after_removing_either(nonce: str) -> None:
    """While a key is replaced the sender signs with both."""
    keys = [KEY, SCHEME.key("next", SECRET)]
    one = by_hand(parameters=f';created={NOW};keyid="partner"{nonce}')
    other = by_hand(parameters=f';created={NOW};keyid="next"{nonce}', label="sig2")
    found = [verified(SCHEME, each, keys) for each in (merged(one, other), one, other)]
    assert [each.key_id for each in found] == ["partner", "partner", "next"]
    assert len({each.replay for each in found}) == 1


@pytest.mark.parametrize(
    "parameters", [f';created={NOW};nonce="n-2"', f";created={NOW}", f';created={NOW + 1};nonce=""']
)
def test_signatures_with_different_nonces_are_rejected(parameters: str) -> None:
    one = by_hand(parameters=f';created={NOW};nonce="n-1"')
    delivery = merged(one, by_hand(parameters=parameters, label="sig2"))
    assert refused(SCHEME, delivery, [KEY]) is Reason.TOO_MANY_SIGNATURES


def test_two_partial_signatures_do_not_add_up() -> None:
    delivery = merged(
        by_hand(["@method", "@target-uri"]), by_hand(["content-digest"], label="other")
    )
    assert refused(SCHEME, delivery, [KEY]) is Reason.NOT_COVERED


def test_replay_is_recognized_by_nonce_or_signed_content() -> None:
    first, again = (
        by_hand(parameters=f';created={created};nonce="n"') for created in (NOW, NOW + 1)
    )
    assert verified(SCHEME, first, [KEY]).replay == verified(SCHEME, again, [KEY]).replay
    bare = [by_hand(), by_hand(label="other"), by_hand(parameters=f";created={NOW + 1}")]
    assert len({verified(SCHEME, each, [KEY]).replay for each in bare}) == 2


def test_reencoded_signature_is_recognized_as_a_replay() -> None:
    """Of ECDSA's (r, s) the pair (r, n - s) is as good."""
    delivery = by_hand()
    text = delivery.header(b"signature-input").removeprefix("sig1=")
    base = signature_base(delivery, Address.parse(URL), REQUIRED, text)
    value = make_signature(private("ecdsa-p256-sha256"), "ecdsa-p256-sha256", base)
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    anew = value[:32] + (order - int.from_bytes(value[32:])).to_bytes(32)
    replays = {
        verified(
            SCHEME,
            with_header("signature", f"sig1=:{base64.b64encode(each).decode()}:")(delivery),
            [verifying_key("ecdsa-p256-sha256")],
        ).replay
        for each in (value, anew)
    }
    assert len(replays) == 1


@pytest.mark.parametrize("more", [b"", b"\0"])
def test_ecdsa_signature_has_one_encoding(more: bytes) -> None:
    key = private("ecdsa-p256-sha256")
    value = make_signature(key, "ecdsa-p256-sha256", b"text")
    spelled = value[:32] + more + value[32:]
    good = is_signed(checked(key.public_key()), "ecdsa-p256-sha256", b"text", spelled)
    assert good is (more == b"")


@given(st.binary(max_size=50), st.sampled_from(("", "?", "?a=b", "?a=%2F&b")))
def test_any_signed_body_and_query_is_verified(body: bytes, query: str) -> None:
    delivery = signed(post(body, f"/shop/hook{query}"))
    assert verified(SCHEME, delivery, [KEY]).delivery_id == STAMP.delivery_id
    assert refused(SCHEME, changed(delivery, body=body + b" "), [KEY]) is Reason.CONTENT_CHANGED


@pytest.mark.parametrize("text", [lambda: SECRET, lambda: private_pem("ed25519")])
def test_repr_never_has_a_key(text: Callable[[], bytes]) -> None:
    shown = repr(SCHEME.key("k", text()))
    assert base64.b64encode(bytes(range(32))).decode() not in shown
    assert "material" not in shown


def test_string_that_does_not_end_is_one_string() -> None:
    """If each quote were tried as a beginning, the time would be quadratic."""
    text = '"' + '\\"' * 50
    assert structured._STRING.findall(f"sig1={text}") == [text]
