"""The guard admits verified callers and rejects all others with a reason."""

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
from cryptography import x509

from tests.edge import mounts
from tests.edge.mounts import (
    ABROAD,
    CHECKOUT,
    DOMAIN,
    GATEWAY,
    ISSUER,
    KEY,
    NOW,
    PARTNER,
    PARTNER_ISSUER,
    PARTNER_KEY,
    PARTNER_ROOT,
    PARTNER_SIGNER,
    PAYMENTS,
    ROOT,
    STRANGER,
    SVID,
    accepted,
    bundle_map,
    by_token,
    forwarding,
    known,
    snapshot,
    svid,
)
from tests.pki.builders import Made, by_hand, given, key, own_root, uri
from tests.pki.forged_tokens import part, raw_signature
from troth.edge.identity.snapshot import Snapshot
from troth.edge.inbound import problems
from troth.edge.inbound.caller import Caller
from troth.edge.inbound.guard import Guard
from troth.edge.inbound.presented import Stripping
from troth.edge.inbound.refusal import Refusal
from troth.pki.certificates.issuing import LeafProfile, issue
from troth.pki.encodings import base64url
from troth.pki.encodings.pem import read_certificates
from troth.pki.keys.private import private_key_pem
from troth.pki.tokens.checks import AccessToken, verify_access_token

HERE = known(CHECKOUT)
access_token = partial(mounts.access_token, now=NOW)
transaction_token = partial(mounts.transaction_token, now=NOW)
STRIPPING = Stripping()


def bearer(token: str, scheme: str = "Bearer") -> tuple[str, str]:
    return ("authorization", f"{scheme} {token}")


def txn(token: str) -> tuple[str, str]:
    return ("txn-token", token)


def judge(
    files: Snapshot,
    *headers: tuple[str, str],
    peer: SVID | None = HERE,
    chain: tuple[str, ...] | None = None,
    guard: Guard | None = None,
    after: float = 0,
    distinct: bool = True,
) -> Caller | Refusal:
    presented = STRIPPING.read(
        [(name.encode(), value.encode("latin-1")) for name, value in headers],
        bearer=files.document.requires.token is not None,
        distinct=distinct,
    )
    if chain is None:
        chain = peer.chain if peer else ()
    judged = (guard or Guard("https")).judge(files, chain, presented, NOW.timestamp() + after)
    if isinstance(judged, Refusal):
        for _, value in headers:
            assert not value or value not in problems.body(judged).decode(), (
                "the answer quotes what was sent"
            )
    return judged


def caller(files: Snapshot, *headers: tuple[str, str], **more: Any) -> Caller:
    judged = judge(files, *headers, **more)
    assert isinstance(judged, Caller), judged
    return judged


def code(files: Snapshot, *headers: tuple[str, str], **more: Any) -> str:
    judged = judge(files, *headers, **more)
    assert isinstance(judged, Refusal), judged
    return judged.code


# mTLS


def test_mtls_caller_has_the_scopes_of_its_edge() -> None:
    assert caller(snapshot()) == Caller(CHECKOUT, frozenset({"payments.charge", "payments.refund"}))


def test_caller_without_a_transaction_has_no_subject() -> None:
    seen = caller(snapshot())
    assert (seen.subject, seen.tenant, seen.request_id) == (None, None, None)


def test_request_without_a_certificate_is_rejected() -> None:
    assert code(snapshot(), peer=None) == "certificate-missing"


def test_unlisted_caller_is_rejected() -> None:
    assert code(snapshot(), peer=known(STRANGER)) == "caller-not-accepted"


def test_caller_of_another_port_is_rejected() -> None:
    files = snapshot(accepts=[accepted(CHECKOUT, "payments.charge", ports=("admin",))])
    assert code(files) == "caller-not-accepted"
    assert caller(files, guard=Guard("admin")).scopes == {"payments.charge"}


def test_federated_peer_is_verified_with_its_own_roots() -> None:
    files = snapshot(accepts=[accepted(ABROAD, "payments.charge")])
    assert caller(files, peer=known(ABROAD)).workload == ABROAD


def other_chains() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Chains that TLS might let pass, having roots of several trust domains to go by."""
    loose = own_root(which="loose")
    yield "an authority nobody knows", svid(CHECKOUT, authority=loose).chain
    partner = Made(PARTNER_ROOT.certificate, PARTNER_ROOT.private_key)
    impostor = by_hand("x", partner, ca=False, names=[uri(CHECKOUT)])
    yield "our name by a partner's root", (impostor.pem.decode(),)
    yield "no SPIFFE ID", (by_hand("x", partner, ca=False, names=[]).pem.decode(),)
    two: list[x509.GeneralName] = [uri(CHECKOUT), uri(STRANGER)]
    yield "two SPIFFE IDs", (by_hand("x", partner, ca=False, names=two).pem.decode(),)
    names: list[x509.GeneralName] = [x509.DNSName("checkout.shop.svc")]
    yield "a DNS name", (by_hand("x", partner, ca=False, names=names).pem.decode(),)
    yield "a trust domain nobody knows", svid_abroad("elsewhere.example").chain
    yield "a root", tuple(anchor.decode() for anchor in ROOT.authority.anchors)
    yield "no certificate", ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",)
    yield "no PEM", ("certificate",)
    yield "letters of elsewhere", ("c\u00e9rtificate",)


def svid_abroad(domain: str) -> SVID:
    return svid(f"spiffe://{domain}/a", authority=own_root(domain=domain, which=domain))


CHAINS = dict(other_chains())


@pytest.mark.parametrize("chain", CHAINS.values(), ids=CHAINS.keys())
def test_certificate_of_another_domains_root_is_rejected(
    chain: tuple[str, ...],
) -> None:
    assert code(snapshot(), chain=chain) == "caller-unknown"


def test_workload_key_cannot_certify_another_workload() -> None:
    """A chain that goes through a leaf leads nowhere, whatever TLS made of it."""
    holder = key(which="holder")
    profile = LeafProfile(STRANGER, (), timedelta(hours=1))
    leaf = issue(profile, holder, ROOT, NOW)
    signer = Made(read_certificates(leaf, "the leaf")[0], holder)
    forged = by_hand("y", signer, ca=False, names=[uri(CHECKOUT)])
    assert code(snapshot(), chain=(forged.pem.decode(), leaf.decode())) == "caller-unknown"


def test_chain_may_have_intermediates_and_a_root() -> None:
    top = by_hand("corp")
    between = given(by_hand("corp-intermediate", top), top)
    issued = svid(CHECKOUT, authority=between)
    files = snapshot(bundles=bundle_map(roots={DOMAIN: between, PARTNER: PARTNER_ROOT}))
    assert len(issued.chain) == 2
    assert caller(files, chain=issued.chain).workload == CHECKOUT
    assert caller(files, chain=(*issued.chain, top.pem.decode())).workload == CHECKOUT
    assert code(files, chain=issued.chain[:1]) == "caller-unknown"
    assert code(snapshot(), chain=issued.chain) == "caller-unknown"


def test_certificate_expired_since_the_handshake_is_rejected() -> None:
    guard, short = Guard("https"), svid(CHECKOUT, lifetime=timedelta(hours=1))
    assert caller(snapshot(), guard=guard, peer=short, after=3599)
    assert code(snapshot(), guard=guard, peer=short, after=3601) == "caller-unknown"
    assert code(snapshot(), guard=guard, peer=short, after=-900) == "caller-unknown"


def test_certificate_of_a_removed_root_is_rejected() -> None:
    guard, other = Guard("https"), own_root(which="new root")
    assert caller(snapshot(0), guard=guard)
    new = bundle_map(roots={DOMAIN: other, PARTNER: PARTNER_ROOT})
    assert code(snapshot(1, bundles=new), guard=guard) == "caller-unknown"


# tokens


BOUND = access_token(certificate=HERE.der)
TOKENS = snapshot(requires=by_token())
OPTIONAL = snapshot(requires=by_token("Optional"))


def test_token_caller_has_the_scopes_of_both_token_and_edge() -> None:
    wide = access_token(certificate=HERE.der, scopes=["payments.charge", "payments.admin"])
    assert caller(TOKENS, bearer(wide)) == Caller(CHECKOUT, frozenset({"payments.charge"}))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_authorization_scheme_is_case_insensitive(scheme: str) -> None:
    assert caller(TOKENS, bearer(BOUND, scheme))


REFUSED: dict[str, tuple[list[tuple[str, str]], str]] = {
    "none": ([], "token-missing"),
    "another scheme": ([bearer(BOUND, "DPoP")], "token-missing"),
    "basic": ([("authorization", "Basic Og==")], "token-missing"),
    "no scheme": ([("authorization", BOUND)], "token-missing"),
    "two headers": ([bearer(BOUND), bearer(BOUND)], "token-malformed"),
    "two tokens": ([bearer(f"{BOUND},{BOUND}")], "token-malformed"),
    "two spaces": ([bearer(f" {BOUND}")], "token-malformed"),
    "nothing": ([bearer("")], "token-malformed"),
    "not ASCII": ([bearer(f"{BOUND[:-1]}\u00e9")], "token-malformed"),
    "another spelling of the header": ([("author_ization", f"Bearer {BOUND}")], "token-missing"),
    "a transaction token": ([bearer(transaction_token())], "token-type"),
    "another audience": (
        [bearer(access_token(certificate=HERE.der, audience=GATEWAY))],
        "token-audience",
    ),
    "another's": (
        [bearer(access_token(STRANGER, certificate=known(STRANGER).der))],
        "token-holder",
    ),
    "another's, bound to our certificate": (
        [bearer(access_token(STRANGER, certificate=HERE.der))],
        "token-holder",
    ),
    "bound to another certificate of ours": (
        [bearer(access_token(certificate=svid(CHECKOUT).der))],
        "token-holder",
    ),
    "not bound": ([bearer(access_token())], "token-unbound"),
    "expired": (
        [bearer(access_token(certificate=HERE.der, now=NOW - timedelta(minutes=10)))],
        "token-expired",
    ),
    "of the future": (
        [bearer(access_token(certificate=HERE.der, now=NOW + timedelta(minutes=5)))],
        "token-not-yet-valid",
    ),
    "of another issuer": (
        [bearer(access_token(certificate=HERE.der, issuer=PARTNER_ISSUER))],
        "token-issuer",
    ),
    "signed abroad": (
        [bearer(access_token(certificate=HERE.der, signer=PARTNER_SIGNER))],
        "token-key",
    ),
    "torn": ([bearer(f"{BOUND[:-8]}AAAAAAAA")], "token-signature"),
}


@pytest.mark.parametrize(("headers", "expected"), REFUSED.values(), ids=REFUSED.keys())
def test_token_of_another_caller_audience_or_time_is_rejected(
    headers: list[tuple[str, str]], expected: str
) -> None:
    judged = judge(TOKENS, *headers)
    assert isinstance(judged, Refusal)
    assert judged.code == expected
    assert judged.peer == CHECKOUT


def test_stolen_token_is_rejected_without_its_certificate() -> None:
    thief = snapshot(
        requires=by_token(), accepts=[accepted(CHECKOUT, "a"), accepted(STRANGER, "a")]
    )
    assert code(thief, bearer(BOUND), peer=None) == "certificate-missing"
    assert code(thief, bearer(BOUND), peer=known(STRANGER)) == "token-holder"
    assert code(OPTIONAL, bearer(BOUND), peer=None) == "token-holder"


def test_unbound_token_is_accepted_only_if_declared() -> None:
    unbound = bearer(access_token())
    assert code(TOKENS, unbound) == "token-unbound"
    assert caller(OPTIONAL, unbound, peer=None).workload == CHECKOUT
    assert caller(OPTIONAL, unbound).workload == CHECKOUT
    assert code(OPTIONAL, unbound, peer=known(STRANGER)) == "caller-not-accepted"
    both = snapshot(
        requires=by_token("Optional"), accepts=[accepted(CHECKOUT, "a"), accepted(STRANGER, "a")]
    )
    assert code(both, unbound, peer=known(STRANGER)) == "token-holder"
    assert code(OPTIONAL, bearer(access_token(STRANGER)), peer=None) == "caller-not-accepted"
    assert code(OPTIONAL, peer=None) == "token-missing"


def test_token_of_a_federated_domain_is_verified_with_its_issuer_and_keys() -> None:
    files = snapshot(
        requires=by_token(),
        issuers={DOMAIN: ISSUER, PARTNER: PARTNER_ISSUER},
        accepts=[accepted(ABROAD, "payments.charge")],
    )
    abroad = known(ABROAD)
    token = access_token(
        ABROAD, certificate=abroad.der, issuer=PARTNER_ISSUER, signer=PARTNER_SIGNER
    )
    assert caller(files, bearer(token), peer=abroad).scopes == {"payments.charge"}


def test_token_requires_its_certificate_during_rotation() -> None:
    old, new = svid(CHECKOUT), svid(CHECKOUT)
    for_old, for_new = (bearer(access_token(certificate=each.der)) for each in (old, new))
    guard = Guard("https")
    assert caller(TOKENS, for_old, peer=old, guard=guard)
    assert caller(TOKENS, for_new, peer=new, guard=guard)
    assert code(TOKENS, for_old, peer=new, guard=guard) == "token-holder"
    assert code(TOKENS, for_new, peer=old, guard=guard) == "token-holder"


def test_authorization_header_is_ignored_with_mtls() -> None:
    assert caller(snapshot(), bearer("anything")) == caller(snapshot())


# transactions


def test_transaction_has_subject_and_context() -> None:
    token = transaction_token()
    seen = caller(snapshot(), txn(token))
    assert (seen.subject, seen.tenant) == ("customer-42", "blue")
    assert seen.request_id == "00000000-0000-0000-0000-000000000007"
    assert seen.transaction is not None
    assert seen.transaction.token == token
    assert token not in repr(seen)


REQUIRED = snapshot(requires={"context": ["RequestID", "Subject", "Tenant"]})


def test_required_context_comes_only_from_a_transaction_token() -> None:
    written = [
        ("x-user", "admin"),
        ("x-tenant-id", "blue"),
        ("x-request-id", "7"),
        ("txn_token", transaction_token()),
    ]
    assert code(REQUIRED, *written) == "transaction-missing"
    assert caller(REQUIRED, *written, txn(transaction_token())).tenant == "blue"
    assert code(REQUIRED, txn(transaction_token(context={}))) == "context-missing"
    subject = snapshot(requires={"context": ["Subject"]})
    assert caller(subject, txn(transaction_token(context={}))).tenant is None


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        ("", "transaction-malformed"),
        (BOUND, "transaction-type"),
        (transaction_token(signer=PARTNER_SIGNER), "transaction-key"),
        (transaction_token(trust_domain=PARTNER), "transaction-audience"),
        (transaction_token(now=NOW - timedelta(minutes=10)), "transaction-expired"),
        (transaction_token(now=NOW + timedelta(minutes=5)), "transaction-not-yet-valid"),
        (transaction_token()[:-8] + "AAAAAAAA", "transaction-signature"),
    ],
)
def test_optional_transaction_token_is_verified(token: str, expected: str) -> None:
    assert code(snapshot(), txn(token)) == expected


def test_one_access_token_may_serve_several_transactions() -> None:
    guard = Guard("https")
    for tenant in ("blue", "green", "blue"):
        token = transaction_token(context={"tenant": tenant})
        assert caller(TOKENS, bearer(BOUND), txn(token), guard=guard).tenant == tenant
    assert caller(TOKENS, bearer(BOUND), guard=guard).tenant is None


def test_repeated_transaction_token_is_rejected() -> None:
    token = transaction_token()
    assert code(snapshot(), txn(token), txn(token)) == "transaction-malformed"
    assert code(snapshot(), txn(f"{token},{token}")) == "transaction-malformed"


def test_trust_domain_without_tokens_has_no_transactions() -> None:
    assert code(snapshot(issuers={}), txn(transaction_token())) == "transaction-issuer"
    header, payload, _ = transaction_token().split(".")
    claims = json.loads(base64url.decode(payload))
    del claims["iss"]
    signed = f"{header}.{part(claims)}"
    unnamed = f"{signed}.{part(b''.join(raw_signature(signed, KEY)))}"
    assert code(snapshot(issuers={}), txn(unnamed)) == "transaction-issuer"


def test_transaction_token_alone_is_rejected() -> None:
    token = transaction_token()
    assert code(snapshot(), txn(token), peer=None) == "certificate-missing"
    assert code(snapshot(), txn(token), peer=known(STRANGER)) == "caller-not-accepted"
    assert code(TOKENS, txn(token)) == "token-missing"


# gateways


BEHIND = known(CHECKOUT)
FORWARDING = snapshot(
    accepts=[forwarding(GATEWAY), accepted(CHECKOUT, "payments.charge")],
)


def xfcc(*elements: str) -> tuple[str, str]:
    return ("x-forwarded-client-cert", ",".join(elements))


def element(client: SVID = BEHIND, uri: str = CHECKOUT, by: str = GATEWAY) -> str:
    digest = sha256(client.der).hexdigest()
    return f'By={by};Hash={digest};Subject="";URI={uri}'


def test_declared_gateway_may_forward_its_client() -> None:
    seen = caller(FORWARDING, xfcc(element()), peer=known(GATEWAY))
    assert seen == Caller(CHECKOUT, frozenset({"payments.charge"}), None, GATEWAY)


def test_gateway_without_forwarded_client_is_the_caller() -> None:
    assert caller(FORWARDING, peer=known(GATEWAY)).workload == GATEWAY


def test_other_callers_may_not_forward_clients() -> None:
    victim = xfcc(element(known(STRANGER), STRANGER))
    assert caller(FORWARDING, victim).workload == CHECKOUT
    undeclared = snapshot(accepts=[accepted(GATEWAY), accepted(CHECKOUT, "payments.charge")])
    seen = caller(undeclared, xfcc(element()), peer=known(GATEWAY))
    assert (seen.workload, seen.scopes) == (GATEWAY, frozenset())
    assert code(FORWARDING, xfcc(element()), peer=None) == "certificate-missing"
    assert code(FORWARDING, xfcc(element()), peer=known(STRANGER)) == "caller-not-accepted"


def test_unaccepted_client_is_rejected_behind_a_gateway() -> None:
    stranger = xfcc(element(known(STRANGER), STRANGER))
    assert code(FORWARDING, stranger, peer=known(GATEWAY)) == "caller-not-accepted"


def test_gateway_forwards_only_on_its_accepted_ports() -> None:
    files = snapshot(
        accepts=[forwarding(GATEWAY, ports=("admin",)), accepted(CHECKOUT, "payments.charge")]
    )
    assert code(files, xfcc(element()), peer=known(GATEWAY)) == "caller-not-accepted"


def test_gateway_forwards_clients_only_on_declared_ports() -> None:
    entry = forwarding(GATEWAY, ports=("admin",))
    entry["ports"] += accepted(GATEWAY)["ports"]
    files = snapshot(accepts=[entry, accepted(CHECKOUT, "payments.charge")])
    assert caller(files, xfcc(element()), peer=known(GATEWAY)).workload == GATEWAY


def test_spoofed_header_through_a_gateway_has_no_effect() -> None:
    """What it appends to is passed over; what it sends beside its own is refused."""
    spoofed, true = element(known(STRANGER), STRANGER), element()
    gateway = known(GATEWAY)
    assert caller(FORWARDING, xfcc(spoofed, true), peer=gateway).workload == CHECKOUT
    assert code(FORWARDING, xfcc(true), xfcc(spoofed), peer=gateway) == "gateway-not-accepted"
    assert code(FORWARDING, xfcc(spoofed), xfcc(true), peer=gateway) == "gateway-not-accepted"
    passed_on = element(by=workload_of("another-gateway"))
    assert code(FORWARDING, xfcc(passed_on), peer=gateway) == "gateway-not-accepted"
    folded = ("x_forwarded_client_cert", spoofed)
    assert caller(FORWARDING, folded, xfcc(true), peer=gateway).workload == CHECKOUT
    assert caller(FORWARDING, folded, peer=gateway).workload == GATEWAY
    assert code(FORWARDING, xfcc(true), peer=gateway, distinct=False) == "gateway-not-accepted"


def workload_of(name: str) -> str:
    return f"spiffe://{DOMAIN}/ns/shop/sa/{name}"


@pytest.mark.parametrize(
    "value",
    ["", "Hash=00;URI=spiffe://a.example/a", f"URI={CHECKOUT}", 'By="', "garbage", element() + ","],
)
def test_ambiguous_forwarded_header_is_rejected(value: str) -> None:
    refused = code(FORWARDING, ("x-forwarded-client-cert", value), peer=known(GATEWAY))
    assert refused == "gateway-not-accepted"


def test_token_behind_a_gateway_is_bound_to_the_client() -> None:
    files = snapshot(
        requires=by_token(), accepts=[forwarding(GATEWAY), accepted(CHECKOUT, "payments.charge")]
    )
    gateway = known(GATEWAY)
    bound = bearer(access_token(certificate=BEHIND.der))
    assert caller(files, xfcc(element()), bound, peer=gateway).workload == CHECKOUT
    other = xfcc(element(known(STRANGER)))
    assert code(files, other, bound, peer=gateway) == "token-holder"
    to_gateway = bearer(access_token(certificate=gateway.der))
    assert code(files, xfcc(element()), to_gateway, peer=gateway) == "token-holder"
    assert code(files, bound, peer=gateway) == "token-holder"


# what is kept


def test_cached_result_expires_with_its_token() -> None:
    guard = Guard("https")
    assert caller(TOKENS, bearer(BOUND), guard=guard)
    assert caller(TOKENS, bearer(BOUND), guard=guard, after=359)
    assert code(TOKENS, bearer(BOUND), guard=guard, after=361) == "token-expired"
    assert code(TOKENS, bearer(BOUND), guard=guard, after=-61) == "token-not-yet-valid"
    assert caller(TOKENS, bearer(BOUND), guard=guard)


def test_cached_result_expires_with_its_transaction() -> None:
    guard = Guard("https")
    short = txn(transaction_token(expires=NOW + timedelta(seconds=10)))
    assert caller(TOKENS, bearer(BOUND), short, guard=guard)
    late = code(TOKENS, bearer(BOUND), short, guard=guard, after=71)
    assert late == "transaction-expired"


def test_cached_result_ends_with_the_files() -> None:
    guard = Guard("https")
    assert caller(TOKENS, bearer(BOUND), guard=guard)
    revoked = snapshot(1, requires=by_token(), accepts=[])
    assert code(revoked, bearer(BOUND), guard=guard) == "caller-not-accepted"
    keys = bundle_map(keys={DOMAIN: PARTNER_KEY, PARTNER: PARTNER_KEY})
    replaced = snapshot(2, requires=by_token(), bundles=keys)
    assert code(replaced, bearer(BOUND), guard=guard) == "token-key"


def test_cached_result_applies_to_one_caller() -> None:
    guard = Guard("https")
    files = snapshot(
        requires=by_token(), accepts=[accepted(CHECKOUT, "a"), accepted(STRANGER, "a")]
    )
    assert caller(files, bearer(BOUND), guard=guard)
    assert code(files, bearer(BOUND), peer=known(STRANGER), guard=guard) == "token-holder"
    assert code(files, guard=guard) == "token-missing"
    assert code(files, bearer(BOUND + "A"), guard=guard) == "token-signature"


def test_access_token_is_verified_once_for_all_transactions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verified: list[str] = []

    def verify(token: str, **checks: Any) -> AccessToken:
        verified.append(token)
        return verify_access_token(token, **checks)

    monkeypatch.setattr("troth.edge.inbound.guard.verify_access_token", verify)
    guard = Guard("https")
    for subject in ("ann", "bob"):
        transaction = ("txn-token", transaction_token(subject=subject))
        seen = caller(TOKENS, bearer(BOUND), transaction, guard=guard)
        assert seen.subject == subject
    assert verified == [BOUND]


def test_cache_is_bounded() -> None:
    guard = Guard("https", most_kept=3)
    for number in range(10):
        token = access_token(certificate=HERE.der, token_id=f"token-{number}")
        assert caller(TOKENS, bearer(token), guard=guard)
    assert len(guard._grants) == 3


def test_trace_belongs_to_its_request() -> None:
    guard = Guard("https")
    parents = [f"00-{number * 32}-{'1' * 16}-01" for number in "ab"]
    for parent in parents:
        seen = caller(snapshot(), ("traceparent", parent), guard=guard)
        assert seen.trace is not None
        assert seen.trace.traceparent == parent
    assert caller(snapshot(), guard=guard).trace is None
    refused = judge(snapshot(), ("traceparent", parents[0]), peer=known(STRANGER))
    assert isinstance(refused, Refusal)
    assert (refused.peer, refused.request) == (STRANGER, "a" * 32)


# what is answered


def test_answer_does_not_reveal_whether_a_key_exists() -> None:
    unknown = judge(TOKENS, bearer(access_token(certificate=HERE.der, signer=PARTNER_SIGNER)))
    wrong = judge(TOKENS, bearer(f"{BOUND[:-8]}AAAAAAAA"))
    assert isinstance(unknown, Refusal)
    assert isinstance(wrong, Refusal)
    assert (unknown.code, wrong.code) == ("token-key", "token-signature")
    first, second = problems.body(unknown), problems.body(wrong)
    assert json.loads(first) == json.loads(second)
    assert json.loads(first)["code"] == "token-signature"


@pytest.mark.parametrize(
    ("code", "status", "challenge"),
    [
        ("token-missing", 401, "Bearer"),
        ("token-expired", 401, 'Bearer error="invalid_token"'),
        ("token-holder", 401, 'Bearer error="invalid_token"'),
        ("certificate-missing", 403, None),
        ("caller-not-accepted", 403, None),
        ("transaction-expired", 403, None),
        ("context-missing", 403, None),
    ],
)
def test_only_a_401_has_a_challenge(code: str, status: int, challenge: str | None) -> None:
    refusal = Refusal(code, "A sentence.")
    document = json.loads(problems.body(refusal))
    assert (refusal.status, document["status"]) == (status, status)
    assert dict(problems.headers(refusal, 7)).get("WWW-Authenticate") == challenge
    assert document["type"].endswith(f"/{code}")
    assert document["detail"] == "A sentence."


def test_payments_is_who_is_asked() -> None:
    assert snapshot().spiffe_id == PAYMENTS
    assert private_key_pem(ROOT.private_key) not in repr(snapshot()).encode()
