"""Tokens with valid content in an unusual encoding."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.judges.forging import encoded, es256_with, written
from tests.judges.token_cases import OWN, Case, by_hand
from tests.judges.token_world import CHECKOUT, signing_key


def forms(claims: dict[str, Any]) -> Iterator[Case]:
    token = by_hand(claims, sign=es256_with(signing_key(), "-_"))
    header, payload, signature = token.split(".")
    malformed = {
        "of two parts": f"{header}.{payload}",
        "of four parts": f"{token}.{signature}",
        "empty": "",
        "JWS in JSON form": written(
            {"protected": header, "payload": payload, "signature": signature}
        ).decode(),
        "signature padded": f"{token}==",
        "signature in the other base64 alphabet": ".".join(
            (header, payload, signature.replace("-", "+").replace("_", "/"))
        ),
        "signature with a spare bit set": token[:-1] + _next_letter(token[-1]),
        "a line break at the end": f"{token}\n",
        "a line break within the signature": f"{token[:-9]}\n{token[-9:]}",
        "a space before": f" {token}",
        "claims padded, and signed so": _signed_text(header, f"{payload.rstrip('=')}="),
        "claims within a list": by_hand(written([claims])),
        "claims that are no JSON": by_hand(b"sub=checkout"),
        "claims with something after them": by_hand(written(claims) + b"{}"),
        "claims that are not UTF-8": by_hand(written(claims)[:-1] + b',"name":"\xff"}'),
        "claims in UTF-16": by_hand(written(claims).decode().encode("utf-16")),
        "claims with a byte order mark": by_hand(b"\xef\xbb\xbf" + written(claims)),
        "claims 2,000 deep": by_hand(
            written(claims)[:-1] + b',"deep":' + b"[" * 2000 + b"]" * 2000 + b"}"
        ),
        "claims 12 deep": by_hand(
            written(claims)[:-1] + b',"deep":' + b"[" * 12 + b"]" * 12 + b"}"
        ),
        "9 KiB of scopes": by_hand(claims | {"scope": "payments.charge" + " a" * 3300}),
        "sub is there twice": by_hand(written(claims)[:-1] + f',"sub":"{CHECKOUT}"}}'.encode()),
        "sub is there twice, once escaped": by_hand(
            written(claims)[:-1] + rb',"\u0073ub":"' + CHECKOUT.encode() + b'"}'
        ),
        "aud is there twice": by_hand(b'{"aud":["https://other.example"],' + written(claims)[1:]),
    }
    for name, text in malformed.items():
        yield Case(name, text, "token-malformed")
    richer = encoded(written(claims | {"scope": "payments.charge payments.refund"}))
    yield Case("a scope more than signed", f"{header}.{richer}.{signature}", "token-signature")


def _next_letter(letter: str) -> str:
    """Return the next letter: 64 bytes leave the lower four bits of the last letter unused."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return letters[letters.index(letter) + 1]


def _signed_text(header: str, payload: str) -> str:
    signed = f"{header}.{payload}"
    return f"{signed}.{encoded(OWN(signed.encode()))}"
