"""A judge that checks signatures as one would in a shell with only OpenSSL."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.judges.programs import Bundles, Judge, answering, decoded, key_and_issuer
from tests.judges.token_cases import Case
from tests.judges.tools import Tool, tool

KEY = """\
asn1 = SEQUENCE:key
[key]
algorithm = SEQUENCE:algorithm
point = FORMAT:HEX,BITSTRING:04{x}{y}
[algorithm]
kind = OID:id-ecPublicKey
curve = OID:prime256v1
"""
"""A public key (RFC 5480 section 2) in the syntax of `openssl asn1parse`."""

SIGNATURE = """\
asn1 = SEQUENCE:signature
[signature]
r = INTEGER:0x{r}
s = INTEGER:0x{s}
"""
"""An ECDSA signature (RFC 3279 section 2.2.3); JOSE concatenates the two numbers."""


def openssl(bundles: Bundles) -> Judge:
    """Return a judge of signatures only: OpenSSL does not read claims."""
    program = tool("openssl")

    @cache
    def pem(x: str, y: str) -> str:
        with TemporaryDirectory() as directory:
            der = _der(program, Path(directory), KEY.format(x=_hex(x), y=_hex(y)))
            return _succeed(program, "pkey", "-pubin", "-inform", "DER", "-in", der)

    def judge(case: Case) -> str:
        header, payload, signature = decoded(case.token)
        members, claims = json.loads(header), json.loads(payload)
        if members["alg"] != "ES256" or len(signature) != 64:
            raise ValueError("the signature is not ES256's")
        key, _ = key_and_issuer(bundles, case, claims["sub"], members["kid"])
        _verify(program, pem(key["x"], key["y"]), signature, case.token.rpartition(".")[0])
        return str(claims["sub"])

    return answering(judge)


def _verify(program: Tool, pem: str, signature: bytes, text: str) -> None:
    with TemporaryDirectory() as name:
        directory = Path(name)
        halves = SIGNATURE.format(r=signature[:32].hex(), s=signature[32:].hex())
        der = _der(program, directory, halves)
        key, signed = directory / "key.pem", directory / "signed"
        key.write_text(pem)
        signed.write_text(text)
        _succeed(program, "dgst", "-sha256", "-verify", key, "-signature", der, signed)


def _der(program: Tool, directory: Path, text: str) -> Path:
    description, der = directory / "description", directory / "der"
    description.write_text(text)
    _succeed(program, "asn1parse", "-noout", "-genconf", description, "-out", der)
    return der


def _hex(coordinate: str) -> str:
    return urlsafe_b64decode(f"{coordinate}=").hex()


def _succeed(program: Tool, *arguments: str | Path) -> str:
    able, said = program(*arguments)
    if not able:
        raise ValueError(said.splitlines()[0])
    return said
