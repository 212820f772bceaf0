"""WebhookEndpoints for the tests: manifests as users write them, valid and invalid."""

from datetime import datetime
from typing import Any

from tests import builders
from tests.builders import Manifest
from tests.changed_manifests import GONE
from troth.documents.gateway_report import LABEL, member
from troth.world.observation.webhook_secrets import GIVEN_LABEL

URL = "https://hooks.shop.example/shop/stripe-charges"
EXPIRES = "2027-01-01T00:00:00Z"
UNSIGNED: Manifest = {
    "owner": "team source control",
    "reason": "their server is of last year",
    "expiresAt": EXPIRES,
}
ONE, TWO = "whsec_the-first-of-two", "whsec_the-second-of-two"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
TOPIC = "arn:aws:sns:eu-central-1:123456789012:orders"


def endpoint(
    name: str = "stripe-charges",
    namespace: str = "shop",
    scheme: str | None = "StandardWebhooks",
    **inbound: Any,
) -> Manifest:
    """Return an inbound endpoint with a generated secret, for port `webhooks` of payments."""
    signed = {} if scheme is None else {"scheme": scheme}
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "WebhookEndpoint",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "inbound": {
                **signed,
                "publicURL": URL,
                "target": {
                    "identity": {"name": "payments"},
                    "port": "webhooks",
                    "path": "/events/stripe",
                    "workflow": "settle-charge",
                },
                **inbound,
            }
        },
    }


def issued(scheme: str = "Stripe", secret: str = "stripe-signing", **more: Any) -> Manifest:
    """Return an endpoint with a secret that the sender issues."""
    return endpoint(scheme=scheme, secretRef={"name": secret}, **more)


def outbound(name: str = "partner", namespace: str = "shop", **spec: Any) -> Manifest:
    """Return an outbound endpoint."""
    return {
        "apiVersion": "troth.dev/v1alpha1",
        "kind": "WebhookEndpoint",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "outbound": {
                "url": "https://partner.example/hooks",
                "sender": {"identity": {"name": "fulfilment"}},
            }
            | spec
        },
    }


BASES: dict[str, Manifest] = {
    "bare": endpoint(),
    "stripe": issued(
        tolerance="300s",
        replayWindow="24h",
        source={
            "cidrs": ["203.0.113.0/24"],
            "clientCertificate": {
                "sans": ["DNS:client.stripe.example", "URI:spiffe://stripe.example/hooks"],
                "caBundle": PEM,
            },
        },
        gateway={"name": "edge", "namespace": "edge"},
        limits={"body": "1Mi", "requestsPerSecond": 200},
    ),
    "hmac": endpoint(
        scheme="HMAC",
        hmac={
            "header": "X-Signature",
            "prefix": "sha256=",
            "signed": "{timestamp}.{id}.{body}",
            "digest": "SHA512",
            "encoding": "Base64",
            "timestampHeader": "X-Timestamp",
            "idHeader": "X-Id",
        },
    ),
    "sns": endpoint(scheme="SNS", sns={"topicARNs": [TOPIC]}),
    "twilio": issued("Twilio", limits={"body": "256Ki"}),
    "http": issued("HTTPSignatures", httpSignatures={"components": ["@authority", "date"]}),
    "gitlab": endpoint(scheme="GitLabToken", acceptUnsigned=UNSIGNED),
    "out": outbound(
        scheme="StandardWebhooks",
        pin={"caBundleRef": {"name": "partner"}, "publicKeys": [f"sha256/{'A' * 43}="]},
        retries={"schedule": ["5s", "5m", "10h"]},
    ),
}
INBOUND = "spec.inbound"
PATH = f"{INBOUND}.target.path"
SIGNED = f"{INBOUND}.hmac.signed"
WRONG: list[tuple[str, str, Any, str, str]] = [
    # base, changed path, value, path of the error, words of the message
    ("sns", f"{INBOUND}.limits", {"body": "1025Ki"}, "", "at most 1Mi"),
    ("twilio", f"{INBOUND}.limits.body", "1Mi", "", "at most 256Ki"),
    (
        "bare",
        "spec.outbound",
        BASES["out"]["spec"]["outbound"],
        "spec",
        "set exactly one of inbound",
    ),
    ("bare", INBOUND, GONE, "spec", "set exactly one of inbound (deliveries to"),
    ("bare", f"{INBOUND}.scheme", GONE, INBOUND, "set scheme to the sender's signature"),
    ("stripe", f"{INBOUND}.scheme", GONE, INBOUND, "an address is not an identity; set scheme"),
    ("bare", f"{INBOUND}.scheme", "None", f"{INBOUND}.scheme", "'StandardWebhooks', 'GitHub'"),
    ("stripe", f"{INBOUND}.secretRef", GONE, INBOUND, "set secretRef to a Secret with the"),
    ("http", f"{INBOUND}.secretRef", GONE, INBOUND, "set secretRef to a Secret with the"),
    ("bare", f"{INBOUND}.scheme", "GitLabToken", INBOUND, "set acceptUnsigned, with owner"),
    ("bare", f"{INBOUND}.acceptUnsigned", UNSIGNED, INBOUND, "set acceptUnsigned, with owner"),
    ("gitlab", f"{INBOUND}.acceptUnsigned.owner", GONE, "", "required; add it"),
    ("gitlab", f"{INBOUND}.acceptUnsigned.owner", "-", "", "write who answers for it"),
    ("gitlab", f"{INBOUND}.acceptUnsigned.reason", "...", "", "write plain words"),
    ("gitlab", f"{INBOUND}.acceptUnsigned.expiresAt", "soon", "", "write an RFC 3339 time"),
    ("hmac", f"{INBOUND}.hmac", GONE, INBOUND, "set hmac, how the sender signs, if and"),
    ("bare", f"{INBOUND}.hmac", {"header": "X-A"}, INBOUND, "set hmac, how the sender signs"),
    ("sns", f"{INBOUND}.sns", GONE, INBOUND, "set sns, the topics that may send, if"),
    ("bare", f"{INBOUND}.sns", {"topicARNs": [TOPIC]}, INBOUND, "set sns, the topics that"),
    ("sns", f"{INBOUND}.sns.topicARNs", [], "", "at least 1 item"),
    ("sns", f"{INBOUND}.sns.topicARNs", ["orders"], "", "write the topic's ARN, such as"),
    (
        "bare",
        f"{INBOUND}.httpSignatures",
        {"components": ["date"]},
        INBOUND,
        "remove httpSignatures",
    ),
    ("http", f"{INBOUND}.httpSignatures.components", ["Date"], "", "write a component as a"),
    ("bare", f"{INBOUND}.tolerance", "0s", "", "write a duration between 1s and 1h"),
    ("bare", f"{INBOUND}.tolerance", "61m", "", "write a duration between 1s and 1h"),
    ("bare", f"{INBOUND}.replayWindow", "721h", "", "write a duration between 2s and 720h"),
    ("bare", f"{INBOUND}.replayWindow", "9m", INBOUND, "make replayWindow at least twice the"),
    ("stripe", f"{INBOUND}.replayWindow", "599s", INBOUND, "make replayWindow at least twice"),
    ("bare", f"{INBOUND}.publicURL", GONE, f"{INBOUND}.publicURL", "required; add it"),
    *(
        ("bare", f"{INBOUND}.publicURL", each, "", "write the https URL that the sender uses")
        for each in (
            *("http://a.example/", "https://a.example?x=1", "https://a.example/#a", "a.example"),
            *("https://A.example/", "https://a.example:0/", "https://user@a.example/", "https://a"),
        )
    ),
    ("bare", f"{INBOUND}.gateway", {"name": "a_b"}, "", "write a Kubernetes name"),
    ("bare", f"{INBOUND}.target.identity", GONE, "", "required; add it"),
    ("bare", f"{INBOUND}.target.identity.namespace", "b", "", "unknown field; remove it"),
    ("bare", f"{INBOUND}.target.port", "HTTPS", "", "write a port name"),
    ("bare", f"{INBOUND}.target.workflow", "a b", "", "write a Kubernetes name"),
    *(
        ("bare", PATH, each, "", "write a path as segments of letters")
        for each in ("events", "/a?b", "/a//b", "/%2e", "/a b", "//a", "/é", "/a\n")
    ),
    *(
        ("bare", PATH, each, "", "write the path without the segments")
        for each in ("/..", "/./a", "/a/../b", "/a/.", "/a/./")
    ),
    ("stripe", f"{INBOUND}.source.cidrs", ["10.0.0.1/8"], "", "write a network in canonical CIDR"),
    ("stripe", f"{INBOUND}.source.clientCertificate.sans", [], "", "at least 1 item"),
    ("stripe", f"{INBOUND}.source.clientCertificate.sans", ["a.b"], "", "write a certificate name"),
    (
        "stripe",
        f"{INBOUND}.source.clientCertificate.caBundle",
        "x",
        "",
        "write certificates in PEM",
    ),
    ("stripe", f"{INBOUND}.limits.body", "1Gi", "", "write a size in bytes, Ki or Mi"),
    ("stripe", f"{INBOUND}.limits.body", "17Mi", "", "write a size of at most 16Mi"),
    ("stripe", f"{INBOUND}.limits.body", "16777217", "", "write a size of at most 16Mi"),
    ("stripe", f"{INBOUND}.limits.requestsPerSecond", 0, "", "write a number of at least 1"),
    ("hmac", f"{INBOUND}.hmac.header", "X Y", "", "write a header name as letters"),
    ("hmac", f"{INBOUND}.hmac.prefix", "sha256 ", "", "write the text before the signature"),
    *(
        ("hmac", SIGNED, each, "", "write the signed content with {body} at")
        for each in (
            *("{body}.", "{timestamp}{body}", "{what}.{body}", "body", "{timestamp}{id}.{body}"),
            *("{{body}", "{body}.{body}", "é{body}", "{timestamp}\t{body}"),
        )
    ),
    ("hmac", SIGNED, "{timestamp}.{timestamp}.{body}", "", "write each of {timestamp}, {id},"),
    (
        "hmac",
        f"{INBOUND}.hmac.timestampHeader",
        GONE,
        f"{INBOUND}.hmac",
        "set timestampHeader; it is the",
    ),
    ("hmac", f"{INBOUND}.hmac.idHeader", GONE, f"{INBOUND}.hmac", "set idHeader; it is the header"),
    ("hmac", SIGNED, "{id}.{body}", f"{INBOUND}.hmac", "add {timestamp} to signed; an unsigned"),
    ("hmac", SIGNED, "{timestamp}1{body}", "", "remove the digit after {timestamp}"),
    (
        "hmac",
        f"{INBOUND}.hmac.idHeader",
        "x-SIGNATURE",
        f"{INBOUND}.hmac",
        "choose another header for idHeader; header has the same",
    ),
    (
        "hmac",
        f"{INBOUND}.hmac.timestampHeader",
        "x-signature",
        f"{INBOUND}.hmac",
        "choose another header for timestampHeader; header has the same",
    ),
    (
        "hmac",
        f"{INBOUND}.hmac.timestampHeader",
        "X-Id",
        f"{INBOUND}.hmac",
        "choose another header for idHeader; timestampHeader has the same",
    ),
    ("hmac", f"{INBOUND}.hmac.digest", "MD5", "", "'SHA256', 'SHA512' or 'SHA1'"),
    ("hmac", f"{INBOUND}.hmac.encoding", "Hexagon", "", "'Hex' or 'Base64'"),
    ("out", "spec.outbound.url", "http://a.example", "", "write the destination as an https URL"),
    ("out", "spec.outbound.pin.publicKeys", ["sha256/x"], "", "write a pin as sha256/ and the"),
    ("out", "spec.outbound.retries.schedule", ["0s"], "", "write a duration between 1s and 72h"),
    ("out", "spec.outbound.sender", GONE, "", "required; add it"),
]


# Secrets, and a gateway's report


def keys(name: str = "stripe-signing", namespace: str = "shop", **texts: str) -> Manifest:
    """Return a Secret with the keys of a sender, labelled for Troth."""
    data = {key: text.encode() for key, text in (texts or {"main": ONE}).items()}
    return labelled(builders.secret(name, namespace, **data))


def labelled(secret: Manifest) -> Manifest:
    """Return the Secret with the label that lets Troth read it."""
    return {**secret, "metadata": {**secret["metadata"], "labels": {GIVEN_LABEL: "true"}}}


def leading(
    name: str = "payments",
    namespace: str = "shop",
    target: int | str = 9443,
    port: int = 443,
    **spec: Any,
) -> Manifest:
    """Return a Service for the webhook port of payments' pods."""
    made = builders.service(name, namespace, app="payments")
    ports = [{"name": "webhooks", "port": port, "targetPort": target}]
    return {**made, "spec": made["spec"] | {"ports": ports} | spec}


def report(endpoint: str = "shop.stripe-charges", **verified: datetime) -> Manifest:
    """Return a gateway's report on the keys of an endpoint."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "troth-gateway-webhook-keys",
            "namespace": "troth-gateway",
            "labels": {LABEL: "troth-gateway"},
        },
        "data": {endpoint: member(verified)},
    }
