"""Identity headers in any spelling do not reach the application."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from troth.edge.inbound.identity_headers import BEGINNINGS, HARMLESS_X, WORDS
from troth.edge.inbound.presented import Stripping
from troth.resources.webhooks.schemes import SchemeName
from troth.webhooks.schemes.registry import event_headers


def listed(names: str) -> list[str]:
    return names.split()


IDENTITY = listed(
    """
    X-Forwarded-Client-Cert Client-Cert Client-Cert-Chain X-Client-Cert X-SSL-Client-S-DN
    SSL-Client-Verify X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Forwarded-Prefix
    Forwarded X-Real-IP X-Client-IP True-Client-IP CF-Connecting-IP Fastly-Client-IP
    X-Azure-SocketIP X-Original-URL X-Rewrite-URL X-Original-Forwarded-For X-Cluster-Client-IP
    X-Envoy-External-Address X-Envoy-Internal X-Forwarded-User X-Forwarded-Email
    X-Forwarded-Groups X-Forwarded-Preferred-Username X-Remote-User X-Remote-Group
    X-Remote-Extra-Scopes Remote-User Remote-Groups Remote-Name Impersonate-User
    Impersonate-Group Impersonate-Uid X-User X-User-Id X-Userinfo X-UserName User Username
    XUser X-AppUser X-Roles X-Role Roles XRoles X-Groups X-Group X-Permissions X-Scopes
    X-Scope X-Claims X-Admin X-Is-Admin X-Tenant X-Tenant-ID X-Org-Id X-Organization
    X-Account-Id X-Subject X-Sub X-Uid X-Principal From X-Auth-Request-User
    X-Auth-Request-Access-Token X-Auth-Token X-Authenticated-Userid X-Amzn-Oidc-Identity
    X-Amzn-Oidc-Data X-Amzn-Mtls-Clientcert X-Amzn-RequestContext
    X-Goog-Authenticated-User-Email X-Goog-IAP-JWT-Assertion X-Endpoint-API-UserInfo
    X-Apigateway-Api-Userinfo X-AppEngine-User-Email X-Ms-Client-Principal
    X-Ms-Client-Principal-Name X-Ms-Token-AAD-Id-Token X-Consumer-Username X-Consumer-Id
    X-Credential-Identifier X-Anonymous-Consumer Cf-Access-Authenticated-User-Email
    Cf-Access-Jwt-Assertion X-Pomerium-Jwt-Assertion X-Webauth-User X-Authentik-Username
    X-Vouch-User Tailscale-User-Login Teleport-Jwt-Assertion X-Hasura-Role
    X-Hasura-Admin-Secret OIDC_CLAIM_sub Shib-Identity-Provider SM_USER iv-user iv-groups
    OAM_REMOTE_USER X-Jwt-Payload X-Spiffe-Id l5d-client-id X-Istio-Attributes
    dapr-caller-app-id X-Service-Name X-Workload X-Caller X-Peer baggage uberctx-tenant
    Proxy-Authorization Txn-Token Unverified-X-Roles
    X-On-Behalf-Of X-Act-As X-Run-As X-Sudo X-Operator X-Staff X-Realm X-Acl X-Access-Level
    X-Rights X-Grants X-Company X-Project X-Access-Token X-Id-Token X-Msisdn X-Acting-For
    X-HTTP-Method-Override X-HTTP-Method X-Method-Override X-Accel-Mapping X-Sendfile-Type
    X-Datadog-Tags X-Controller X-Device-Memory X-Shipping-Method X-GitHub-Delivery
    On-Behalf-Of Sudo Acl Realm Operator-Id Staff Rights Grants
    """
)
OTHERS = listed(
    """
    Host Accept Accept-Encoding Accept-Language Cookie Content-Type Content-Length
    Content-Encoding Content-Disposition Connection Date DNT ETag Expect If-Match
    If-None-Match If-Modified-Since If-Range Idempotency-Key Keep-Alive Last-Event-ID
    Max-Forwards Origin Pragma Prefer Priority Range Referer Sec-CH-UA Sec-CH-UA-Platform
    Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Fetch-User Sec-WebSocket-Key
    Sec-WebSocket-Version Sec-WebSocket-Protocol Signature Signature-Input TE Service-Worker
    Trailer Transfer-Encoding Upgrade Upgrade-Insecure-Requests User-Agent Via
    Access-Control-Request-Headers Access-Control-Request-Method X-Api-Key X-CSRF-Token
    X-CSRFToken X-XSRF-TOKEN X-Requested-With X-Request-Id X-Correlation-Id X-Amzn-Trace-Id
    X-Amz-Date X-Cloud-Trace-Context traceparent tracestate X-B3-TraceId X-Datadog-Trace-Id
    X-Api-Version X-Idempotency-Key sentry-trace grpc-timeout X-GitHub-Event X-Gitlab-Event
    X-Event-Key X-Shopify-Topic webhook-id webhook-timestamp Stripe-Signature CF-Ray
    """
)


def application_gets(
    name: str, *, bearer: bool = False, strip: tuple[str, ...] = (), allow: tuple[str, ...] = ()
) -> list[str]:
    """The names under which the application gets a header."""
    stripping = Stripping(strip, allow)
    kept = stripping.read([(name.encode(), b"value")], bearer=bearer).headers
    renamed = stripping.renamed(name.encode(), bearer=bearer)
    assert kept == ([] if renamed is None else [(renamed, b"value")])
    return [each.decode() for each, _ in kept]


@pytest.mark.parametrize("name", IDENTITY)
def test_identity_header_is_stripped(name: str) -> None:
    assert application_gets(name) == []


@given(st.sampled_from(IDENTITY), st.data())
def test_identity_header_is_stripped_in_every_spelling(name: str, data: st.DataObject) -> None:
    separators = st.sampled_from(["-", "_", "--", "-_", ".", "~"])
    spelled = "".join(
        data.draw(separators if each in "-_" else st.sampled_from([each.lower(), each.upper()]))
        for each in name
    )
    around = data.draw(st.sampled_from(["", "-", "_"]))
    assert application_gets(around + spelled) == []


@given(st.sampled_from(BEGINNINGS), st.from_regex("[a-z]{0,5}(-[a-z]{1,5}){0,2}", fullmatch=True))
def test_any_header_with_a_word_of_the_list_is_stripped(beginning: str, rest: str) -> None:
    for name in (f"{beginning}{rest}", f"x-{beginning}{rest}", f"acme-{beginning}{rest}"):
        assert application_gets(name) == []


@pytest.mark.parametrize("word", WORDS)
def test_short_word_counts_only_as_a_whole(word: str) -> None:
    assert application_gets(f"x-{word}") == application_gets(f"x-{word}-id") == []
    assert application_gets(f"acme-{word}") == []
    assert application_gets(f"acme-{word}q") == [f"acme-{word}q"]


@given(st.from_regex(r"[xX][-_.][A-Za-z0-9]{1,12}([-_][A-Za-z0-9]{1,8}){0,2}", fullmatch=True))
def test_header_with_x_is_stripped_unless_it_is_listed_as_harmless(name: str) -> None:
    plain = "-".join(re.findall("[a-z0-9]+", name.lower()))
    assert application_gets(name) == ([name] if plain in HARMLESS_X else [])


def test_event_headers_that_the_gateway_forwards_are_harmless() -> None:
    forwarded = {name.decode() for scheme in SchemeName for name in event_headers(scheme)}
    assert forwarded
    assert forwarded <= set(HARMLESS_X)


def test_application_can_allow_a_header_of_its_own() -> None:
    name = "X-Shipping-Method"
    assert application_gets(name, allow=(name,)) == ["unverified-x-shipping-method"]


@pytest.mark.parametrize("name", OTHERS)
def test_other_headers_are_kept(name: str) -> None:
    assert application_gets(name) == [name]
    assert application_gets(name.lower()) == [name.lower()]


@pytest.mark.parametrize("name", ["Authorization", "authorization", "AUTHORIZATION"])
def test_authorization_is_kept_if_the_guard_does_not_use_it(name: str) -> None:
    assert application_gets(name) == [name]
    assert application_gets(name, bearer=True) == []


def test_additional_headers_can_be_stripped() -> None:
    assert application_gets("x-api-key", strip=("X-API-Key",)) == []
    assert application_gets("X_Api__Key", strip=("X-API-Key",)) == []
    assert application_gets("x-user", strip=("X-API-Key",)) == []


@pytest.mark.parametrize("name", ["X-Roles", "x_roles", "X__ROLES", "x.roles"])
def test_allowed_header_is_readable_only_as_unverified(name: str) -> None:
    assert application_gets(name, allow=("X-Roles",)) == ["unverified-x-roles"]
    assert application_gets("X-Groups", allow=("X-Roles",)) == []


def test_sender_cannot_choose_the_unverified_name() -> None:
    assert application_gets("Unverified-X-Roles", allow=("X-Roles",)) == []


@pytest.mark.parametrize(
    ("allow", "strip"),
    [
        ("Txn-Token", ()),
        ("X_Forwarded_Client_Cert", ()),
        ("Authorization", ()),
        ("Unverified-X-Roles", ()),
        ("X-Request-Id", ()),
        ("X-Roles", ("x-roles",)),
    ],
)
def test_header_that_cannot_be_allowed_is_an_error(allow: str, strip: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="allow: "):
        Stripping(strip, (allow,))


def test_only_the_canonical_spelling_is_read() -> None:
    read = Stripping().read(
        [
            (b"Txn-Token", b"1"),
            (b"txn_token", b"2"),
            (b"TXN-TOKEN", b"3"),
            (b"x-forwarded-client-cert", b"4"),
            (b"x_forwarded_client_cert", b"5"),
            (b"authorization", b"6"),
            (b"traceparent", b"7"),
            (b"tracestate", b"8"),
        ],
        bearer=True,
    )
    assert read.transaction == [b"1", b"3"]
    assert read.forwarded == [b"4"]
    assert read.authorization == [b"6"]
    assert (read.parents, read.states) == ([b"7"], [b"8"])
    assert read.headers == [(b"traceparent", b"7"), (b"tracestate", b"8")]


def test_repr_has_no_token() -> None:
    read = Stripping().read([(b"authorization", b"Bearer secret")], bearer=True)
    assert "secret" not in repr(read)


def test_header_name_cache_is_bounded() -> None:
    stripping = Stripping()
    for number in range(10_000):
        stripping.read([(f"x-{number}".encode(), b"")], bearer=False)
    assert len(stripping._kinds) <= 4096
    assert stripping.read([(b"X-User-7", b"")], bearer=False).headers == []


def test_long_names_of_clients_are_not_remembered() -> None:
    stripping = Stripping()
    long = [(b"x-%d-" % number + b"a" * 4096, b"") for number in range(10)]
    stripping.read(long, bearer=False)
    assert sum(map(len, stripping._kinds)) < 4096
