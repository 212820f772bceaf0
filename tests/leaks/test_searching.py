"""The search finds planted secrets in every place, and nothing public.

Otherwise a run without findings would prove nothing.
"""

import base64
import json
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from rich.console import Console

from tests import builders
from tests.leaks.recording import LAST_APPLIED, beside_the_data
from tests.leaks.searching import Search
from tests.pki.builders import by_hand
from troth.pki.bundles.keystores import keystore_password, pkcs12_keystore
from troth.pki.keys.parsing import PrivateKey
from troth.pki.keys.private import generate_key, private_key_pem
from troth.resources.algorithms import KeyAlgorithm
from troth.world.facts.objects import MANAGED_BY

ALGORITHMS = [
    KeyAlgorithm.ECDSA_P256,
    KeyAlgorithm.ECDSA_P384,
    KeyAlgorithm.ED25519,
    KeyAlgorithm.RSA_2048,
]
KEYS = {algorithm: generate_key(algorithm) for algorithm in ALGORITHMS}


def der(key: PrivateKey) -> bytes:
    return key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def traditional(key: PrivateKey) -> bytes:
    form = PrivateFormat.TraditionalOpenSSL
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        form = PrivateFormat.PKCS8
    return key.private_bytes(Encoding.PEM, form, NoEncryption())


def number(key: PrivateKey) -> int:
    match key:
        case ec.EllipticCurvePrivateKey():
            return key.private_numbers().private_value
        case rsa.RSAPrivateKey():
            return key.private_numbers().p
        case _:
            return int.from_bytes(key.private_bytes_raw(), "big")


WAYS: dict[str, Callable[[PrivateKey], str]] = {
    "PEM": lambda key: private_key_pem(key).decode(),
    "PEM of old": lambda key: traditional(key).decode(),
    "PEM as bytes": lambda key: str(private_key_pem(key)),
    "a line's end": lambda key: private_key_pem(key).decode().splitlines()[1][-24:],
    "DER as bytes": lambda key: str(der(key)),
    "base64 of DER": lambda key: base64.b64encode(der(key)).decode(),
    "the other alphabet": lambda key: base64.urlsafe_b64encode(der(key)).decode(),
    "base64 behind something": lambda key: base64.b64encode(b"ab" + der(key)).decode(),
    "base64 of PEM": lambda key: base64.b64encode(private_key_pem(key)).decode(),
    "base64 behind a name": lambda key: base64.b64encode(b"k: " + private_key_pem(key)).decode(),
    "hexadecimal": lambda key: der(key).hex(),
    "upper case": lambda key: der(key).hex().upper(),
    "hexadecimal with colons": lambda key: der(key).hex(":"),
    "list of bytes": lambda key: str(list(der(key))),
    "number": lambda key: str(number(key)),
    "hexadecimal number": lambda key: hex(number(key)),
}


@cache
def of_one(algorithm: KeyAlgorithm) -> Search:
    search = Search()
    search.keep_key("the key", KEYS[algorithm])
    return search


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_private_key_is_found_in_every_form(algorithm: KeyAlgorithm, way: str) -> None:
    text = WAYS[way](KEYS[algorithm])
    leaks = of_one(algorithm).found("the log", f"before it {text} and after it")
    assert "the key" in {leak.secret for leak in leaks}


PASSWORD = keystore_password()
TOKEN = ".".join(
    base64.urlsafe_b64encode(part).decode().rstrip("=")
    for part in (b'{"alg":"RS256","kid":"x"}', b'{"sub":"operator","jti":"1"}', bytes(range(256)))
)
MADE = by_hand("root")
KEYSTORE = pkcs12_keystore(MADE.key, MADE.pem, [], PASSWORD)
WEBHOOK = bytes(range(7, 39))
CODED = base64.b64encode(WEBHOOK).decode()
STORE = "valkey://:0123456789abcdef0123@replay-store:6379/0"
FORBIDDEN = {
    "a key": private_key_pem(KEYS[KeyAlgorithm.ECDSA_P256]).decode(),
    "the middle of a key": base64.b64encode(der(KEYS[KeyAlgorithm.RSA_2048])).decode()[800:840],
    "a password": PASSWORD,
    "a part of a password": PASSWORD[9:29],
    "a password in base64": base64.b64encode(PASSWORD.encode()).decode(),
    "a short password": "correct-horse",
    "a token": TOKEN,
    "a token's signature": TOKEN.rpartition(".")[2][100:140],
    "a token's beginning": TOKEN[:30],
    "a keystore": base64.b64encode(KEYSTORE).decode(),
    "what is no key": "MIGHAgEAMBMGByqGSM49 pasted by a slip",
    "a key with a passphrase": KEYS[KeyAlgorithm.ED25519]
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    .decode(),
    "a webhook's secret": f"whsec_{CODED}",
    "a part of a webhook's secret": CODED[20:40],
    "the key that a webhook's secret stands for": str(WEBHOOK),
    "the same in hexadecimal": WEBHOOK.hex(),
    "a key of HTTP signatures": WEBHOOK[::-1].hex(),
    "the address of a replay store": STORE,
    "the password of a replay store": STORE[10:30],
}


@cache
def knowing() -> Search:
    """Return a search that knows all of these, added as in a run."""
    search = Search()
    search.keep_token("the operator's token", TOKEN)
    values = {
        "tls.key": FORBIDDEN["a key"].encode(),
        "other.key": private_key_pem(KEYS[KeyAlgorithm.RSA_2048]),
        "keystore-password": PASSWORD.encode(),
        "password": b"correct-horse",
        "keystore.p12": KEYSTORE,
        "broken.key": FORBIDDEN["what is no key"].encode(),
        "tls.crt": MADE.pem + FORBIDDEN["a key with a passphrase"].encode(),
        "key.k1": FORBIDDEN["a webhook's secret"].encode(),
        "key.k2": b"hmac-sha256:" + base64.b64encode(WEBHOOK[::-1]),
        "endpoint.json": b'{"path": "/shop/orders", "endpoint": "shop/orders"}',
        "url": STORE.encode(),
    }
    encoded = {name: base64.b64encode(value).decode() for name, value in values.items()}
    metadata = {"name": "payments-identity", "namespace": "shop"}
    search.keep_secret({"metadata": metadata, "data": encoded})
    return search


def wrapped(text: str) -> str:
    """Return a text as printed on a narrow terminal."""
    console = Console(width=60, highlight=False)
    with console.capture() as capture:
        console.print(text, markup=False)
    return capture.get()


def stated(manifest: dict[str, Any]) -> str:
    return beside_the_data({"metadata": {}, **manifest})


def conditions(text: str) -> dict[str, Any]:
    said = {"type": "Ready", "status": "False", "reason": "Refused", "message": text}
    return {"kind": "ServiceIdentity", "status": {"conditions": [said]}}


PLACES: dict[str, Callable[[str], str]] = {
    "a log line": lambda text: f"2027-03-01T12:00:00Z [info] step {text} key=shop/payments",
    "a log line in JSON": lambda text: json.dumps({"event": "step", "step": {"manifest": text}}),
    "a traceback": lambda text: f"Traceback:\n  File 'x.py', line 3\nKeyError: {text!r}",
    "an Event": lambda text: stated({"kind": "Event", "note": text[:1000]}),
    "a status": lambda text: stated(conditions(text)),
    "an annotation": lambda text: stated(
        {"kind": "ConfigMap", "metadata": {"annotations": {"troth.dev/note": text}}}
    ),
    "an annotation of a Secret": lambda text: stated(
        {"kind": "Secret", "metadata": {"annotations": {"troth.dev/note": text}}}
    ),
    "a label": lambda text: stated({"kind": "Secret", "metadata": {"labels": {"note": text}}}),
    "managedFields": lambda text: stated(
        {"kind": "Secret", "metadata": {"managedFields": [{"fieldsV1": {f"v:{text}": {}}}]}}
    ),
    "a ConfigMap": lambda text: stated({"kind": "ConfigMap", "data": {"ca.crt": text}}),
    "a metric": lambda text: f"troth_resources{{reason={json.dumps(text)}}} 1.0\n",
    "a command's output": wrapped,
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("secret", FORBIDDEN)
def test_every_secret_is_found_in_every_place(secret: str, place: str) -> None:
    leaks = knowing().found(place, PLACES[place](FORBIDDEN[secret]))
    assert leaks, f"{secret} was not found"
    assert all(leak.place == place for leak in leaks)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_public_part_of_a_key_is_not_found(algorithm: KeyAlgorithm) -> None:
    made = by_hand("root", own_key=KEYS[algorithm])
    cut = [made.pem.decode()[:end] for end in range(0, 400, 7)]
    certificate = made.certificate.public_bytes(Encoding.DER)
    for text in (
        *cut,
        made.pem.decode(),
        str(made.pem),
        certificate.hex(),
        base64.b64encode(certificate).decode(),
        base64.b64encode(b"x" + certificate).decode(),
        str(made.certificate.public_key()),
    ):
        assert knowing().found("a ConfigMap", text) == []
        assert of_one(algorithm).found("a ConfigMap", text) == []


def test_endpoint_configuration_is_not_found() -> None:
    told = 'endpoint read secret=shop.orders "path": "/shop/orders", "endpoint": "shop/orders"'
    assert knowing().found("the log", told) == []


def test_last_applied_annotation_is_found_only_in_troths_secrets() -> None:
    search, key = knowing(), FORBIDDEN["a key"]
    secret = builders.secret("corporate", tls_key=key.encode())
    secret["metadata"]["annotations"] = {LAST_APPLIED: json.dumps(secret["data"])}
    assert search.found("x", beside_the_data(secret)) == []
    secret["metadata"]["labels"] = {MANAGED_BY: "troth"}
    assert search.found("x", beside_the_data(secret)) != []
    assert search.found("x", beside_the_data({**secret, "kind": "ConfigMap"})) != []


def test_fragment_across_two_parts_of_a_text_is_found() -> None:
    search = Search()
    search.keep("a password", b'before, "behind it')
    (leak,) = search.found("a log", '{"a": "b", "password": before, "behind it", "c": "d"}')
    assert leak.before == '{"a": "b", "password": '


def test_secret_is_found_in_each_of_two_equal_texts_and_in_one_searched_before_it_was_known() -> (
    None
):
    search = Search()
    text = '{"a": "b", "password": "a password of somebody", "c": "d"}'
    assert not search.found("a log", text)
    search.keep("a password", b"a password of somebody")
    for place in ("one log", "another log"):
        (leak,) = search.found(place, text)
        assert (leak.place, leak.before) == (place, '{"a": "b", "password": "')
