"""Deliveries of every scheme as files, for `troth webhook`."""

import base64
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from typer.testing import CliRunner, Result

from troth.cli.main import app
from troth.cli.webhook.render import raw
from troth.documents.webhook_endpoint import Signing
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.delivery import Delivery
from troth.webhooks.schemes.registry import scheme_for
from troth.webhooks.schemes.scheme import Stamp

NOW = 1_700_000_000
URL = "https://hooks.example.com/shop/x"
TOPIC = "arn:aws:sns:us-west-2:123456789012:orders"
BODY = b'{"id": "evt_1", "a": 1}'
SECRET = b"a secret of some length"
WHSEC = b"whsec_" + base64.b64encode(bytes(range(32)))
TEXTS = {
    SchemeName.STANDARD_WEBHOOKS: WHSEC,
    SchemeName.GITLAB: WHSEC,
    SchemeName.STRIPE: WHSEC,
    SchemeName.PADDLE: b"pdl_ntf_01hbpjmytsa32fhr36nqgc3kgb_WvRO0eL4Bj9rgYYIBZY6wZhG4EHy9jzh",
    SchemeName.HTTP_SIGNATURES: b"hmac-sha256:" + base64.b64encode(bytes(range(32))),
}


@cache
def text_of(scheme: SchemeName) -> bytes:
    """Return a key of a scheme; the private key if the scheme is asymmetric."""
    if scheme is SchemeName.DISCORD:
        key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    if scheme is SchemeName.SNS:
        made = rsa.generate_private_key(65537, 2048)
        return made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return TEXTS.get(scheme, SECRET)


SIGNED = [each for each in SchemeName if each not in (SchemeName.HMAC, SchemeName.GITLAB_TOKEN)]
"""Schemes that sign and need no description."""


def signing(scheme: SchemeName, url: str = URL) -> Signing:
    topics = (TOPIC,) if scheme is SchemeName.SNS else ()
    return Signing(name=scheme, url=url, topics=topics)


def delivery(
    scheme: SchemeName, body: bytes = BODY, now: int = NOW, text: bytes = b"", url: str = URL
) -> Delivery:
    """Return a delivery as its sender signs it."""
    of = scheme_for(signing(scheme, url))
    bare = Delivery("POST", b"/shop/x", ((b"content-type", b"application/json"),), body)
    return of.sign(bare, of.key("k", text or text_of(scheme)), Stamp(now, "delivery-1"))


def troth(*arguments: str, given: bytes | str = "") -> Result:
    return CliRunner().invoke(app, ["webhook", *arguments], input=given)


def options(folder: Path, scheme: SchemeName, text: bytes = b"") -> list[str]:
    """Return the options for a scheme, with its key in a file that ends in a line break."""
    (folder / "k1").write_bytes((text or text_of(scheme)) + b"\n")
    topics = ["--topic", TOPIC] if scheme is SchemeName.SNS else []
    return ["--scheme", scheme.value, "--key", str(folder / "k1"), "--url", URL, *topics]


def verified(
    folder: Path, scheme: SchemeName, of: Delivery, *more: str, text: bytes = b""
) -> Result:
    """Return the output of `troth webhook verify` for a delivery, at the time of its signature."""
    at = () if "--at" in more else ("--at", str(NOW))
    return troth(
        "verify", "-", *options(folder, scheme, text), *at, *more, given=raw(of, "a.example")
    )
