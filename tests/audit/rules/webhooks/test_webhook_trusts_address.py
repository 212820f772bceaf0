"""TR201: what is an allowlist, what is a webhook, and what the fix drafts."""

import json
from typing import Any

import pytest

from tests import builders, webhook_builders
from tests.audit.rules.scenes import (
    container,
    deployment,
    findings,
    fixed,
    ingress,
    other,
    service,
)
from tests.builders import NOW, Manifest
from troth.audit.evaluation import unseen_by
from troth.audit.facts.ranges import outside
from troth.audit.finding import Cause, Unseen
from troth.audit.rule import Rule
from troth.audit.rules.headers.gateway_headers_reachable import RULE as GATEWAY_HEADERS
from troth.audit.rules.webhooks.webhook_trusts_address import RULE
from troth.audit.scene import scene_of

RANGE = "203.0.113.0/24"
NGINX = "nginx.ingress.kubernetes.io/"
BEHIND = [service(), deployment(containers=[container(port=8080)])]
ISTIO = {"group": "security.istio.io/v1"}


def found_for(annotations: Manifest, path: str = "/webhooks", **more: Any) -> bool:
    return bool(findings(RULE, [ingress(annotations=annotations, path=path, **more), *BEHIND]))


@pytest.mark.parametrize(
    "annotation",
    [
        f"{NGINX}whitelist-source-range",
        f"{NGINX}allowlist-source-range",
        "alb.ingress.kubernetes.io/inbound-cidrs",
        "haproxy.org/allow-list",
        "haproxy-ingress.github.io/allowlist-source-range",
    ],
)
def test_annotation_with_public_ranges_is_found(annotation: str) -> None:
    assert found_for({annotation: RANGE})
    assert not found_for({annotation: "10.0.0.0/8,192.168.0.0/16,100.64.0.0/10,fd00::/8"})
    assert not found_for({annotation: "0.0.0.0/0"}), "it restricts nothing"
    assert not found_for({annotation: f"{RANGE}, ::/0"})
    assert found_for({annotation: f"10.0.0.0/8, {RANGE}"}), "one of them is outside"
    assert not found_for({annotation: RANGE}, path="/")


def test_condition_of_an_aws_load_balancer_is_found() -> None:
    name = "alb.ingress.kubernetes.io/conditions.web"
    condition = {"field": "source-ip", "sourceIpConfig": {"values": [RANGE]}}
    assert found_for({name: json.dumps([condition])})
    assert not found_for({name: json.dumps([condition | {"field": "path-pattern"}])})
    assert not found_for({name: "[" * 10_000})
    assert not found_for({name: "not JSON"})


@pytest.mark.parametrize(
    "more",
    [
        {f"{NGINX}auth-url": "https://login.example/"},
        {f"{NGINX}auth-type": "basic"},
        {f"{NGINX}auth-tls-secret": "shop/senders"},
        {"alb.ingress.kubernetes.io/auth-type": "oidc"},
    ],
)
def test_ingress_that_authenticates_does_not_trust_the_address_alone(more: Manifest) -> None:
    assert not found_for({f"{NGINX}whitelist-source-range": RANGE} | more)


@pytest.mark.parametrize(
    ("host", "path", "found"),
    [
        ("hooks.shop.example", "/", True),
        ("shop.example", "/api/stripe", True),
        ("shop.example", "/gitHubWebhook", True),
        ("github.shop.example", "/", False),
        ("jira.shop.example", "/login", False),
        ("shop.example", "/oauth2/callback", False),
        ("shop.example", "/hooked-on-coffee", False),
    ],
)
def test_host_and_path_say_whether_webhooks_come_in(host: str, path: str, found: bool) -> None:
    annotations = {f"{NGINX}whitelist-source-range": RANGE}
    assert found_for(annotations, path=path, host=host) is found


def test_published_range_says_that_webhooks_come_in() -> None:
    assert found_for({f"{NGINX}whitelist-source-range": "140.82.112.0/20"}, path="/")


def test_load_balancer_is_found_and_a_node_port_has_no_allowlist() -> None:
    ranges = {"loadBalancerSourceRanges": [RANGE]}
    receiver = deployment("hooks", containers=[container(port=8080)])
    assert findings(RULE, [service("hooks", type="LoadBalancer", **ranges), receiver])
    assert not findings(RULE, [service("hooks", type="NodePort", **ranges), receiver])
    assert not findings(RULE, [service("hooks", **ranges), receiver])


def test_route_of_the_gateway_api_with_a_middleware_or_a_policy_is_found() -> None:
    route = other(
        "HTTPRoute",
        "hooks",
        {
            "rules": [
                {
                    "filters": [
                        {
                            "type": "ExtensionRef",
                            "extensionRef": {"kind": "Middleware", "name": "m"},
                        }
                    ],
                    "backendRefs": [{"name": "web", "port": 80}],
                }
            ]
        },
        namespace="edge",
    )
    route["spec"]["rules"][0]["backendRefs"][0]["namespace"] = "shop"
    middleware = other("Middleware", "m", {"ipWhiteList": {"sourceRange": [RANGE]}}, "edge")
    login = other("Middleware", "m", {**middleware["spec"], "basicAuth": {}}, "edge")
    assert findings(RULE, [route, middleware, *BEHIND])
    assert not findings(RULE, [route, login, *BEHIND])
    policy = other(
        "SecurityPolicy",
        "p",
        {
            "targetRefs": [{"kind": "HTTPRoute", "name": "hooks"}],
            "authorization": {
                "defaultAction": "Deny",
                "rules": [{"action": "Allow", "principal": {"clientCIDRs": [RANGE]}}],
            },
        },
        "edge",
    )
    (found,) = findings(RULE, [route, policy, *BEHIND])
    assert str(found.subject) == "SecurityPolicy edge/p"


def test_authorization_policy_of_addresses_alone_is_found() -> None:
    def policy(*rules: Manifest, action: str = "ALLOW") -> Manifest:
        selector = {"matchLabels": {"app": "web"}}
        spec = {"selector": selector, "action": action, "rules": list(rules)}
        return other("AuthorizationPolicy", "p", spec, **ISTIO)

    def found(*rules: Manifest, action: str = "ALLOW") -> bool:
        scene = [policy(*rules, action=action), ingress("hooks"), *BEHIND]
        return bool(findings(RULE, scene))

    blocks = {"from": [{"source": {"remoteIpBlocks": [RANGE]}}]}
    principals = {"principals": ["cluster.local/ns/shop/sa/a"]}
    assert found(blocks)
    assert found({"from": [{"source": {"notIpBlocks": [RANGE]}}]}, action="DENY")
    assert not found({"from": [{"source": {"ipBlocks": [RANGE], **principals}}]})
    assert not found(blocks, {"from": [{"source": principals}]})
    assert not found(blocks | {"when": [{"key": "request.auth.claims[sub]", "values": ["a"]}]})


def test_webhook_gateway_and_a_verified_target_are_not_found() -> None:
    public = builders.unverified("https", cidrs=[RANGE])
    hooks = [ingress("hooks", {f"{NGINX}whitelist-source-range": RANGE}), *BEHIND]
    receiver = builders.identity("web", ports=["https"], accepts=[public])
    gateway = builders.identity(
        "web", servesWebhooks={"allowedNamespaces": {"matchLabels": {"a": "b"}}}
    )
    assert findings(RULE, hooks)
    assert findings(RULE, [*hooks, receiver])
    assert not findings(RULE, [*hooks, gateway])
    endpoint = webhook_builders.endpoint()
    endpoint["spec"]["inbound"]["target"]["identity"]["name"] = "web"
    assert not findings(RULE, [*hooks, receiver, endpoint])


def test_fix_keeps_the_ranges_and_replaces_the_peer_without_an_identity() -> None:
    peer = builders.unverified("https", cidrs=["3.18.12.63/32", "10.1.0.0/16"])
    peer["unverified"]["reason"] = "events of Stripe"
    identity = builders.identity(
        "payments", ports=["https"], accepts=[builders.accept("checkout"), peer]
    )
    fix, after = fixed(RULE, [identity])
    (endpoint,) = fix.manifests
    inbound = endpoint["spec"]["inbound"]
    assert inbound["scheme"] == "Stripe"
    assert inbound["source"] == {"cidrs": ["3.18.12.63/32"]}
    assert inbound["secretRef"] == {"name": "payments-stripe-signing"}
    accepts = next(each for each in after if each["kind"] == "ServiceIdentity")["spec"]["accepts"]
    assert accepts == [
        {"from": {"name": "checkout"}, "ports": ["https"]},
        {"from": {"name": "troth-gateway", "namespace": "troth-gateway"}, "ports": ["https"]},
    ]
    assert not findings(RULE, after)


@pytest.mark.parametrize(
    ("path", "scheme"),
    [
        ("/webhooks/github", "GitHub"),
        ("/webhooks/jira", "Bitbucket"),
        ("/hooks/slack", "Slack"),
        ("/hooks/sns", "SNS"),
        ("/webhooks/unknown", "StandardWebhooks"),
    ],
)
def test_fix_is_a_valid_endpoint_of_the_sender_s_scheme(path: str, scheme: str) -> None:
    entry = ingress("in", {f"{NGINX}whitelist-source-range": RANGE}, path=path, host="*.Shop")
    fix, after = fixed(RULE, [entry, *BEHIND])
    endpoint = next(each for each in fix.manifests if each["kind"] == "WebhookEndpoint")
    assert endpoint["spec"]["inbound"]["scheme"] == scheme
    assert endpoint["spec"]["inbound"]["target"]["path"] == path
    assert not findings(RULE, after), "an invalid endpoint would be no endpoint"


def test_ranges_outside_are_those_that_no_private_network_has() -> None:
    ranges = [
        "203.0.113.9",
        "fc00::/7",
        "172.16.3.0/24",
        "172.32.0.0/16",
        "not a range",
        "1" * 9999,
    ]
    assert list(map(str, outside(ranges))) == ["203.0.113.9/32", "172.32.0.0/16"]


@pytest.mark.parametrize("rule", [RULE, GATEWAY_HEADERS], ids=lambda rule: rule.id)
def test_policies_of_envoy_gateway_that_cannot_be_read_are_reported(rule: Rule) -> None:
    scene = scene_of([], NOW)
    scene.hidden["SecurityPolicy"] = "not allowed"
    unseen = Unseen(rule.id, ("SecurityPolicy",), "not allowed", Cause.DENIED)
    assert unseen in unseen_by(rule, scene)
