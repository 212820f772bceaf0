"""What is known to have worked on somebody's tokens works on none of these.

Every forged token here is signed rightly for what it says, unless its signature is the attack: it
is refused for what it is, and not by chance.
"""

import hmac
import json
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.pki.forged_tokens import (
    BUNDLES,
    CHECKOUT,
    CLAIMS,
    DOMAIN,
    HEADER,
    ISSUER,
    ISSUERS,
    KEY,
    KID,
    MOMENT,
    OTHER_DOMAIN,
    OTHER_ISSUER,
    OTHER_KEY,
    OTHER_KID,
    PAYMENTS,
    STRANGER,
    TRANSACTION_CLAIMS,
    TRANSACTION_HEADER,
    UNKNOWN_KEY,
    access_token,
    forged,
    part,
    raw_signature,
    transaction_token,
    without,
)
from troth.pki.keys.jwk import public_jwk
from troth.pki.tokens.checks import TokenError, verify_access_token, verify_transaction_token

GOOD = access_token()
HEAD, BODY, END = GOOD.split(".")
SIGNED = f"{HEAD}.{BODY}"
R, S = raw_signature(SIGNED)
ZERO = bytes(32)
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
DER = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
UNKNOWN_JWK = public_jwk(UNKNOWN_KEY.public_key())


def header(**members: Any) -> str:
    return forged(HEADER | members)


def claims(*absent: str, **members: Any) -> str:
    return forged(claims=without(CLAIMS, *absent) | members)


def json_claims(old: str, new: str) -> str:
    """The claims as text, one passage replaced: for what `json.dumps` would not write."""
    text = json.dumps(CLAIMS)
    assert old in text
    return forged(claims=text.replace(old, new))


def keyed_hash(secret: bytes) -> str:
    signed = f"{part(HEADER | {'alg': 'HS256'})}.{BODY}"
    return f"{signed}.{part(hmac.digest(secret, signed.encode(), 'sha256'))}"


def signature(value: bytes) -> str:
    return f"{SIGNED}.{part(value)}"


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


ATTACKS = {
    # algorithms
    "alg none, no signature": (f"{part({'alg': 'none', 'typ': 'JWT'})}.{BODY}.", "algorithm"),
    "alg none, with a kid": (f"{part(HEADER | {'alg': 'none'})}.{BODY}.", "algorithm"),
    "alg nOnE": (f"{part(HEADER | {'alg': 'nOnE'})}.{BODY}.", "algorithm"),
    "alg none, the signature kept": (header(alg="none"), "algorithm"),
    "HS256 with the public key's PEM": (keyed_hash(PEM), "algorithm"),
    "HS256 with the public key's DER": (keyed_hash(DER), "algorithm"),
    "HS256 with the kid": (keyed_hash(KID.encode()), "algorithm"),
    "RS256": (
        jwt.encode(
            dict(CLAIMS), rsa.generate_private_key(65537, 2048), "RS256", headers={"kid": KID}
        ),
        "algorithm",
    ),
    "ES384 said of an ES256 signature": (header(alg="ES384"), "algorithm"),
    "alg in lower case": (header(alg="es256"), "algorithm"),
    "alg with a space": (header(alg="ES256 "), "algorithm"),
    "alg null": (header(alg=None), "algorithm"),
    "alg in an array": (header(alg=["ES256"]), "algorithm"),
    "no alg": (forged(without(HEADER, "alg")), "algorithm"),
    # keys that are named or brought along
    "kid of nobody": (header(kid="nobody"), "key"),
    "kid empty": (header(kid=""), "key"),
    "kid a path": (header(kid="../../../../dev/null"), "key"),
    "kid a file": (header(kid="file:///var/run/troth/identity/tls.key"), "key"),
    "kid SQL": (header(kid="x' UNION SELECT 'secret' -- "), "key"),
    "kid a command": (header(kid="$(id)|`id`"), "key"),
    "kid with a null": (header(kid=f"{KID}\0"), "key"),
    "kid of another trust domain": (forged(HEADER | {"kid": OTHER_KID}, key=OTHER_KEY), "key"),
    "kid a number": (header(kid=0), "malformed"),
    "kid null": (header(kid=None), "malformed"),
    "kid an object": (header(kid={}), "malformed"),
    "no kid": (forged(without(HEADER, "kid")), "malformed"),
    "jku": (header(jku="https://attacker.example/keys"), "malformed"),
    "x5u": (header(x5u="https://attacker.example/chain.pem"), "malformed"),
    "x5c": (header(x5c=["MIIB"]), "malformed"),
    "x5t#S256": (header(**{"x5t#S256": "a" * 43}), "malformed"),
    "embedded jwk": (
        forged(HEADER | {"jwk": UNKNOWN_JWK, "kid": UNKNOWN_JWK["kid"]}, key=UNKNOWN_KEY),
        "malformed",
    ),
    "embedded jwk, our kid": (forged(HEADER | {"jwk": UNKNOWN_JWK}, key=UNKNOWN_KEY), "malformed"),
    "crit": (header(crit=["exp"]), "malformed"),
    "crit empty": (header(crit=[]), "malformed"),
    "b64 false": (header(b64=False, crit=["b64"]), "malformed"),
    "zip": (header(zip="DEF"), "malformed"),
    "cty JWT": (header(cty="JWT"), "malformed"),
    "enc": (header(enc="A256GCM"), "malformed"),
    "a member nobody knows": (header(note=""), "malformed"),
    "signed by a key nobody knows": (forged(key=UNKNOWN_KEY), "signature"),
    # types
    "a transaction token for an access token": (transaction_token(), "type"),
    "typ of a transaction token": (header(typ="txntoken+jwt"), "type"),
    "typ at+jwt": (header(typ="at+jwt"), "type"),
    "typ in lower case": (header(typ="jwt"), "type"),
    "typ JOSE": (header(typ="JOSE"), "type"),
    "typ null": (header(typ=None), "type"),
    "no typ": (forged(without(HEADER, "typ")), "type"),
    # JSON that two readers read differently
    "alg twice in the header": (
        forged(f'{{"alg":"none","alg":"ES256","kid":"{KID}","typ":"JWT"}}'),
        "malformed",
    ),
    "kid twice in the header": (
        forged(f'{{"alg":"ES256","kid":"x","kid":"{KID}","typ":"JWT"}}'),
        "malformed",
    ),
    "sub twice": (json_claims('"sub"', f'"sub": "{STRANGER}", "sub"'), "malformed"),
    "sub twice, once escaped": (
        json_claims('"sub"', f'"s\\u0075b": "{STRANGER}", "sub"'),
        "malformed",
    ),
    "exp twice": (json_claims('"exp"', '"exp": 9999999999, "exp"'), "malformed"),
    "a member twice within cnf": (
        json_claims('"jti"', '"cnf": {"x5t#S256": "a", "x5t#S256": "b"}, "jti"'),
        "malformed",
    ),
    "claims an array": (forged(claims=[dict(CLAIMS)]), "malformed"),
    "claims a string": (forged(claims='"claims"'), "malformed"),
    "claims null": (forged(claims="null"), "malformed"),
    "claims empty": (forged(claims={}), "malformed"),
    "claims no JSON": (forged(claims="{'sub': 1}"), "malformed"),
    "claims and more": (forged(claims=json.dumps(CLAIMS) + "{}"), "malformed"),
    "claims in UTF-16": (forged(claims=json.dumps(CLAIMS).encode("utf-16")), "malformed"),
    "claims with a byte order mark": (forged(claims=f"\ufeff{json.dumps(CLAIMS)}"), "malformed"),
    "claims not in UTF-8": (
        forged(claims=json.dumps(CLAIMS).encode().replace(b"a-token", b"a\xff")),
        "malformed",
    ),
    "header an array": (forged([HEADER]), "malformed"),
    "nested deeply": (json_claims('"a-token"', nested(2500)), "malformed"),
    "nested nine deep": (json_claims('"iss"', f'"more": {nested(9)}, "iss"'), "malformed"),
    "header nested deeply": (
        forged(f'{{"alg":"ES256","kid":"{KID}","typ":"JWT","x":{nested(2500)}}}'),
        "malformed",
    ),
    "a comment in the claims": (json_claims('"iss"', '/* */ "iss"'), "malformed"),
    # the form of the token
    "empty": ("", "malformed"),
    "dots alone": ("..", "malformed"),
    "one part": (HEAD, "malformed"),
    "no signature and no dot for it": (SIGNED, "malformed"),
    "a trailing dot": (f"{GOOD}.", "malformed"),
    "a leading dot": (f".{GOOD}", "malformed"),
    "five parts, like a JWE": (f"{GOOD}.{END}.{END}", "malformed"),
    "huge": (f"{HEAD}.{part(CLAIMS | {'jti': 'a' * 9000})}.{END}", "malformed"),
    "more huge": ("a" * 10_000_000, "malformed"),
    "dots without end": ("." * 8000, "malformed"),
    "a space in front": (f" {GOOD}", "malformed"),
    "a line break at the end": (f"{GOOD}\n", "malformed"),
    "a line break within": (f"{HEAD}.{BODY[:8]}\n{BODY[8:]}.{END}", "malformed"),
    "a null at the end": (f"{GOOD}\0", "malformed"),
    "Bearer in front": (f"Bearer {GOOD}", "malformed"),
    "letters that look the same": (GOOD.replace("e", "\u0435", 1), "malformed"),
    "digits of another script": (f"{HEAD}.{BODY}\u0661.{END}", "malformed"),
    "the JSON serialisation": (
        json.dumps({"protected": HEAD, "payload": BODY, "signature": END}),
        "malformed",
    ),
    "the general JSON serialisation": (
        json.dumps({"payload": BODY, "signatures": [{"protected": HEAD, "signature": END}]}),
        "malformed",
    ),
    # base64url in other spellings
    "padding": (f"{SIGNED}.{END}==", "malformed"),
    "padding of the header": (f"{HEAD}=.{BODY}.{END}", "malformed"),
    "spare bits": (f"{SIGNED}.{END[:-1]}{chr(ord(END[-1]) + 1)}", "malformed"),
    "plus and slash": (
        ".".join([HEAD, BODY, part(b"\xfb\xff" * 32).replace("-", "+").replace("_", "/")]),
        "malformed",
    ),
    "a length no bytes have": (f"{SIGNED}.{END[:-1]}", "malformed"),
    # signatures
    "no signature": (f"{SIGNED}.", "signature"),
    "a signature of zeros": (signature(ZERO + ZERO), "signature"),
    "r zero": (signature(ZERO + S), "signature"),
    "s zero": (signature(R + ZERO), "signature"),
    "r and s the order": (signature(ORDER.to_bytes(32) * 2), "signature"),
    "r and s swapped": (signature(S + R), "signature"),
    "r beyond the order": (signature(b"\xff" * 32 + S), "signature"),
    "a signature in DER": (
        signature(KEY.sign(SIGNED.encode(), ec.ECDSA(hashes.SHA256()))),
        "signature",
    ),
    "a signature with a byte more": (signature(R + S + b"\0"), "signature"),
    "a signature with a zero more": (signature(R + b"\0" + S), "signature"),
    "a signature with a byte less": (signature((R + S)[:-1]), "signature"),
    "a signature of another token": (
        f"{SIGNED}.{access_token(token_id='another').split('.')[2]}",
        "signature",
    ),
    "claims changed": (
        f"{HEAD}.{part(CLAIMS | {'scope': 'payments.admin'})}.{END}",
        "signature",
    ),
    # who issued it, for whom
    "iss of nobody": (claims(iss="https://attacker.example"), "issuer"),
    "iss with a slash more": (claims(iss=f"{ISSUER}/"), "issuer"),
    "iss in an array": (claims(iss=[ISSUER]), "issuer"),
    "no iss": (claims("iss"), "issuer"),
    "iss of another trust domain": (claims(iss=OTHER_ISSUER), "issuer"),
    "sub of another trust domain, a key of this one": (
        claims(sub=STRANGER, client_id=STRANGER, iss=OTHER_ISSUER),
        "key",
    ),
    "sub of this trust domain, a key of another": (
        forged(HEADER | {"kid": OTHER_KID}, key=OTHER_KEY),
        "key",
    ),
    "sub of a trust domain nobody knows": (claims(sub="spiffe://evil.example/a"), "key"),
    "sub of another trust domain, our kid, its key": (
        forged(claims=CLAIMS | {"sub": STRANGER, "client_id": STRANGER}, key=OTHER_KEY),
        "key",
    ),
    "sub no SPIFFE ID": (claims(sub="checkout"), "malformed"),
    "sub a trust domain": (claims(sub=f"spiffe://{DOMAIN}"), "malformed"),
    "sub that walks": (claims(sub=f"spiffe://{DOMAIN}/ns/x/../shop/sa/checkout"), "malformed"),
    "sub in upper case": (claims(sub=CHECKOUT.replace("prod", "PROD")), "malformed"),
    "sub with a null": (claims(sub=f"{CHECKOUT}\0"), "malformed"),
    "sub with half a character": (claims(sub=f"{CHECKOUT}\ud800"), "malformed"),
    "sub in an array": (claims(sub=[CHECKOUT]), "malformed"),
    "no sub": (claims("sub"), "malformed"),
    "client_id of another": (claims(client_id=PAYMENTS), "malformed"),
    "no client_id": (claims("client_id"), "malformed"),
    "aud of another": (claims(aud=[CHECKOUT]), "audience"),
    "aud ours and another": (claims(aud=[PAYMENTS, CHECKOUT]), "audience"),
    "aud ours twice": (claims(aud=[PAYMENTS, PAYMENTS]), "audience"),
    "aud an empty array": (claims(aud=[]), "audience"),
    "aud an array in an array": (claims(aud=[[PAYMENTS]]), "audience"),
    "aud an object": (claims(aud={PAYMENTS: 1}), "audience"),
    "aud that begins like ours": (claims(aud=f"{PAYMENTS}x"), "audience"),
    "aud in upper case": (claims(aud=PAYMENTS.upper()), "audience"),
    "no aud": (claims("aud"), "audience"),
    # times
    "exp a fraction": (json_claims(str(MOMENT + 300), f"{MOMENT + 300}.0"), "malformed"),
    "exp an exponent": (json_claims(str(MOMENT + 300), "1e400"), "malformed"),
    "exp NaN": (json_claims(str(MOMENT + 300), "NaN"), "malformed"),
    "exp Infinity": (json_claims(str(MOMENT + 300), "Infinity"), "malformed"),
    "exp a string": (claims(exp=str(MOMENT + 300)), "malformed"),
    "exp true": (claims(exp=True), "malformed"),
    "exp null": (claims(exp=None), "malformed"),
    "exp in an array": (claims(exp=[MOMENT + 300]), "malformed"),
    "exp negative": (claims(exp=-1), "malformed"),
    "exp beyond all years": (claims(exp=10**12), "malformed"),
    "exp of a thousand digits": (
        json_claims(str(MOMENT + 300), "9" * 1000),
        "malformed",
    ),
    "exp of five thousand digits": (
        json_claims(str(MOMENT + 300), "9" * 5000),
        "malformed",
    ),
    "no exp": (claims("exp"), "malformed"),
    "iat true": (claims(iat=True), "malformed"),
    "iat a string": (claims(iat=str(MOMENT)), "malformed"),
    "no iat": (claims("iat"), "malformed"),
    "nbf a string": (claims(nbf="0"), "malformed"),
    "nbf false": (claims(nbf=False), "malformed"),
    "no nbf": (claims("nbf"), "malformed"),
    "exp before iat": (claims(exp=MOMENT - 1), "lifetime"),
    "exp with iat": (claims(exp=MOMENT), "lifetime"),
    "a lifetime above 15 minutes": (claims(exp=MOMENT + 901), "lifetime"),
    "a lifetime of years": (claims(exp=MOMENT * 2), "lifetime"),
    "iat long ago for a longer life": (claims(iat=0), "lifetime"),
    "expired": (
        claims(iat=MOMENT - 900, nbf=MOMENT - 900, exp=MOMENT - 300),
        "expired",
    ),
    "issued in the future": (
        claims(iat=MOMENT + 300, nbf=MOMENT, exp=MOMENT + 600),
        "not-yet-valid",
    ),
    "not before the future": (claims(nbf=MOMENT + 200), "not-yet-valid"),
    # the rest
    "no jti": (claims("jti"), "malformed"),
    "jti a number": (claims(jti=1), "malformed"),
    "jti with a line break": (claims(jti="a\nb"), "malformed"),
    "no scope": (claims("scope"), "malformed"),
    "scope in an array": (claims(scope=["payments.admin"]), "malformed"),
    "scope with two spaces": (claims(scope="a  b"), "malformed"),
    "scope with a space around": (claims(scope=" a"), "malformed"),
    "scope with a tab": (claims(scope="a\tb"), "malformed"),
    "scope with a line break": (claims(scope="a\n"), "malformed"),
    "cnf empty": (claims(cnf={}), "malformed"),
    "cnf null": (claims(cnf=None), "malformed"),
    "cnf by another method": (claims(cnf={"jkt": "a" * 43}), "malformed"),
    "cnf by two methods": (claims(cnf={"x5t#S256": "A" * 43, "jkt": "A" * 43}), "malformed"),
    "cnf too short": (claims(cnf={"x5t#S256": "A" * 42}), "malformed"),
    "cnf in hexadecimal": (claims(cnf={"x5t#S256": "0" * 64}), "malformed"),
    "cnf with spare bits": (claims(cnf={"x5t#S256": "A" * 42 + "B"}), "malformed"),
    "cnf with a line break": (claims(cnf={"x5t#S256": "A" * 43 + "\n"}), "malformed"),
    "cnf a number": (claims(cnf={"x5t#S256": 0}), "malformed"),
}


def verified(token: str, moment: float = MOMENT) -> object:
    return verify_access_token(
        token, bundles=BUNDLES, issuers=ISSUERS, audience=PAYMENTS, now=moment
    )


@pytest.mark.parametrize(("token", "check"), ATTACKS.values(), ids=ATTACKS.keys())
def test_attack_on_an_access_token_is_rejected_by_its_check(token: str, check: str) -> None:
    with pytest.raises(TokenError) as refused:
        verified(token)
    assert refused.value.reason == f"token-{check}"
    assert not any(len(word) > 24 for word in str(refused.value).split()), "it quotes the token"


def test_forged_access_token_without_an_attack_is_accepted() -> None:
    assert verified(forged())
    assert verified(claims(aud=PAYMENTS))
    assert verified(json_claims('"iss"', f'"more": {nested(7)}, "iss"'))
    assert verified(signature(R + (ORDER - int.from_bytes(S)).to_bytes(32))), "as ES256 has it"


def test_token_of_a_federated_domain_is_verified_with_its_keys_and_issuer() -> None:
    token = access_token(key=OTHER_KEY, subject=STRANGER, issuer=OTHER_ISSUER)
    assert verified(token)
    for bundles, issuers, check in (
        (BUNDLES, {DOMAIN: ISSUER}, "issuer"),
        ({DOMAIN: BUNDLES[DOMAIN]}, ISSUERS, "key"),
        ({DOMAIN: BUNDLES[OTHER_DOMAIN]}, ISSUERS, "key"),
        (BUNDLES, {DOMAIN: OTHER_ISSUER, OTHER_DOMAIN: ISSUER}, "issuer"),
    ):
        with pytest.raises(TokenError) as refused:
            verify_access_token(
                token, bundles=bundles, issuers=issuers, audience=PAYMENTS, now=MOMENT
            )
        assert refused.value.reason == f"token-{check}"


ODD_VALUES: dict[str, list[Any]] = {
    "txn": ["", "7", 7, None, "00000000-0000-0000-0000-00000000000g", "x" * 36],
    "sub": ["", None, 7, "a\nb", "a" * 257, "\ud800", ["customer-42"]],
    "scope": [None, ["a"], "a  b"],
    "req_wl": [
        None,
        "",
        "checkout",
        [CHECKOUT],
        f"spiffe://{DOMAIN}",
        f"{CHECKOUT},",
        f"{CHECKOUT}, {PAYMENTS}",
        f"{CHECKOUT},{STRANGER}",
        ",".join([CHECKOUT] * 9),
    ],
    "tctx": [
        None,
        [],
        "blue",
        {"tenant": None},
        {"tenant": 1},
        {"tenant": ""},
        {"tenant": {"name": "blue"}},
        {"tenant": "a" * 257},
        {"tenant": "blue\r\nX-Admin: 1"},
        {"": "blue"},
    ],
    "rctx": [None, [], {"req_ip": 1}],
    "exp": [True, "0", -1],
}

TRANSACTION_ATTACKS = {
    "an access token for a transaction token": (access_token(), "type"),
    "typ of an access token": (forged(HEADER, TRANSACTION_CLAIMS), "type"),
    "alg none": (f"{part({'alg': 'none', 'typ': 'txntoken+jwt'})}.{BODY}.", "algorithm"),
    "the key of a federated domain": (transaction_token(key=OTHER_KEY), "key"),
    "a federated domain's kid for our key": (
        forged(TRANSACTION_HEADER | {"kid": OTHER_KID}, TRANSACTION_CLAIMS),
        "key",
    ),
    "a key nobody knows": (
        forged(TRANSACTION_HEADER, TRANSACTION_CLAIMS, key=UNKNOWN_KEY),
        "signature",
    ),
    "iss of another": (transaction_token(issuer=OTHER_ISSUER), "issuer"),
    "aud of another trust domain": (transaction_token(trust_domain=OTHER_DOMAIN), "audience"),
    "aud in an array": (
        forged(TRANSACTION_HEADER, TRANSACTION_CLAIMS | {"aud": [DOMAIN]}),
        "audience",
    ),
    "too long a life": (
        forged(TRANSACTION_HEADER, TRANSACTION_CLAIMS | {"exp": MOMENT + 901}),
        "lifetime",
    ),
    "expired": (
        forged(TRANSACTION_HEADER, TRANSACTION_CLAIMS | {"iat": MOMENT - 400, "exp": MOMENT - 60}),
        "expired",
    ),
    "issued in the future": (
        forged(TRANSACTION_HEADER, TRANSACTION_CLAIMS | {"iat": MOMENT + 61}),
        "not-yet-valid",
    ),
    "not before the future": (
        forged(TRANSACTION_HEADER, TRANSACTION_CLAIMS | {"nbf": MOMENT + 61}),
        "not-yet-valid",
    ),
    "asked for by another trust domain": (transaction_token(requester=STRANGER), "malformed"),
    **{
        f"{name} {json.dumps(value)[:24]}": (
            forged(TRANSACTION_HEADER, TRANSACTION_CLAIMS | {name: value}),
            "malformed",
        )
        for name, values in ODD_VALUES.items()
        for value in values
    },
    **{
        f"no {name}": (
            forged(TRANSACTION_HEADER, without(TRANSACTION_CLAIMS, name)),
            {"iss": "issuer", "aud": "audience"}.get(name, "malformed"),
        )
        for name in TRANSACTION_CLAIMS
    },
}


@pytest.mark.parametrize(
    ("token", "check"), TRANSACTION_ATTACKS.values(), ids=TRANSACTION_ATTACKS.keys()
)
def test_attack_on_a_transaction_token_is_rejected_by_its_check(token: str, check: str) -> None:
    with pytest.raises(TokenError) as refused:
        verify_transaction_token(token, bundle=BUNDLES[DOMAIN], issuer=ISSUER, now=MOMENT)
    assert refused.value.reason == f"transaction-{check}"


def test_forged_transaction_token_without_an_attack_is_accepted() -> None:
    token = forged(TRANSACTION_HEADER, TRANSACTION_CLAIMS)
    read = verify_transaction_token(token, bundle=BUNDLES[DOMAIN], issuer=ISSUER, now=MOMENT)
    assert read.token == token
    replaced = transaction_token(requester=f"{CHECKOUT},{PAYMENTS}")
    assert (
        verify_transaction_token(
            replaced, bundle=BUNDLES[DOMAIN], issuer=ISSUER, now=MOMENT
        ).requester
        == f"{CHECKOUT},{PAYMENTS}"
    )
    assert token not in repr(read)


LIFE = 300


@pytest.mark.parametrize(
    ("skew", "check"),
    [
        (timedelta(seconds=-60), None),
        (timedelta(0), None),
        (timedelta(seconds=LIFE + 59), None),
        (timedelta(minutes=-5), "not-yet-valid"),
        (timedelta(seconds=-61), "not-yet-valid"),
        (timedelta(seconds=LIFE + 60), "expired"),
        (timedelta(seconds=LIFE) + timedelta(minutes=5), "expired"),
    ],
)
def test_clocks_may_differ_by_one_minute_but_not_by_five(
    skew: timedelta, check: str | None
) -> None:
    """A clock that is ahead shows at the end of a token's life, one that is behind at once."""
    moment = MOMENT + skew.total_seconds()
    if check is None:
        assert verified(GOOD, moment)
        return
    with pytest.raises(TokenError) as refused:
        verified(GOOD, moment)
    assert refused.value.reason == f"token-{check}"
    assert "clock" in str(refused.value)
