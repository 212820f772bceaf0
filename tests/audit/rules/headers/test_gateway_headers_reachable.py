"""TR401: what adds identity headers, and what keeps others from the workload behind it."""

from typing import Any

import pytest

from tests import builders
from tests.audit.rules.scenes import (
    container,
    deployment,
    findings,
    fixed,
    ingress,
    other,
    service,
)
from tests.builders import Manifest
from troth.audit.rules.headers.gateway_headers_reachable import RULE

NGINX = "nginx.ingress.kubernetes.io/"
AUTH = {
    f"{NGINX}auth-url": "https://login.example/auth",
    f"{NGINX}auth-response-headers": "X-Auth-Request-User",
}
BEHIND = [service(), deployment(containers=[container(port=8080)])]
EXPOSED = [ingress(annotations=AUTH), *BEHIND]
EVERY_NAMESPACE = {"key": "kubernetes.io/metadata.name", "operator": "Exists"}
HAS = {"key": "gate", "operator": "Exists"}
PROXY = "quay.io/oauth2-proxy/oauth2-proxy:v7.6.0"


GATE = {"source": {"principals": ["a/gate"]}}
NOT_GATE = {"source": {"notPrincipals": ["a/gate"]}}
ADMIN = {"operation": {"paths": ["/admin"]}}


def also(source: Manifest, **more: Any) -> Manifest:
    return {"source": source["source"] | more}


def policy(*ingress: Any, pods: Any = None, **spec: Any) -> Manifest:
    return other(
        "NetworkPolicy", "p", {"podSelector": pods or {}, "ingress": list(ingress), **spec}
    )


@pytest.mark.parametrize(
    ("annotations", "found"),
    [
        (AUTH, True),
        ({f"{NGINX}auth-response-headers": "X-Auth-Request-User"}, False),
        (AUTH | {f"{NGINX}auth-response-headers": "Authorization, X-Request-Id"}, False),
        (AUTH | {f"{NGINX}auth-response-headers": "UserID, UserRole"}, True),
        (
            {f"{NGINX}auth-url": "https://login.example/auth"}
            | {f"{NGINX}configuration-snippet": 'proxy_set_header X-User "$user";'},
            True,
        ),
        ({"alb.ingress.kubernetes.io/auth-type": "oidc"}, True),
        ({"alb.ingress.kubernetes.io/auth-type": "none"}, False),
    ],
)
def test_annotations_say_what_a_gateway_adds(annotations: Manifest, found: bool) -> None:
    assert bool(findings(RULE, [ingress(annotations=annotations), *BEHIND])) is found


def test_middleware_counts_only_where_a_route_uses_it() -> None:
    spec = {"forwardAuth": {"address": "http://a", "authResponseHeaders": ["X-Forwarded-User"]}}
    middleware = other("Middleware", "auth", spec)
    name = "traefik.ingress.kubernetes.io/router.middlewares"
    used = ingress(annotations={name: "shop-auth@kubernetescrd"})
    assert findings(RULE, [middleware, used, *BEHIND])
    assert not findings(RULE, [middleware, ingress(), *BEHIND])


def istio(selector: Manifest, *, target: Any = None) -> list[Manifest]:
    """Return a RequestAuthentication, a gateway, and a VirtualService in another namespace."""
    rules = [{"issuer": "a", "outputClaimToHeaders": [{"header": "x-any", "claim": "sub"}]}]
    spec = {"jwtRules": rules} | ({"selector": {"matchLabels": selector}} if selector else {})
    gateway = other(
        "Gateway", "public", {"selector": {"istio": "gate"}}, "edge", "networking.istio.io/v1"
    )
    destination = {"destination": {"host": "web.shop.svc.cluster.local"}}
    routes = {"gateways": ["edge/public"], "hosts": ["*"], "http": [{"route": [destination]}]}
    return [
        other("RequestAuthentication", "users", spec | (target or {}), "istio-system"),
        gateway,
        other("VirtualService", "web", routes, "elsewhere", "networking.istio.io/v1"),
        *BEHIND,
    ]


def test_request_authentication_of_the_gateway_is_followed_to_the_workload() -> None:
    (found,) = findings(RULE, istio({"istio": "gate"}))
    assert str(found.subject) == "Deployment shop/web"
    assert findings(RULE, istio({})), "in the root namespace it holds for all"
    assert not findings(RULE, istio({"app": "gate"})), "it selects other pods"
    pods = deployment("gate", labels={"istio": "gate", "app": "gate"})
    pods["metadata"]["namespace"] = "istio-system"
    assert findings(RULE, [*istio({"app": "gate"}), pods]), "both select the same pods"


def test_request_authentication_of_the_workload_itself_is_not_found() -> None:
    sidecar, *rest = istio({"app": "web"})
    sidecar["metadata"]["namespace"] = "shop"
    assert not findings(RULE, [sidecar, *rest])


def test_request_authentication_of_a_gateway_of_the_gateway_api_is_followed() -> None:
    target = {"targetRefs": [{"kind": "Gateway", "name": "public"}]}
    policy, *_ = istio({}, target=target)
    parents = [{"name": "public", "namespace": "istio-system"}]
    route = other(
        "HTTPRoute", "web", {"parentRefs": parents, "rules": [{"backendRefs": [{"name": "web"}]}]}
    )
    assert findings(RULE, [policy, route, *BEHIND])


def test_oauth2_proxy_is_followed_to_its_upstream() -> None:
    def proxy(*args: str, env: Any = (), image: str = PROXY) -> list[Manifest]:
        pods = container(*env, port=4180, args=list(args), image=image)
        return [deployment("login", containers=[pods]), *BEHIND]

    assert findings(RULE, proxy("--upstream=http://web.shop.svc:80/"))
    assert findings(RULE, proxy(env=[{"name": "OAUTH2_PROXY_UPSTREAMS", "value": "http://web"}]))
    assert findings(RULE, proxy("--upstream", "http://web:80/"))
    assert not findings(RULE, proxy("--upstream", "--skip-provider-button"))
    assert not findings(RULE, proxy("--upstream=static://202"))
    assert not findings(RULE, proxy("--upstream=http://other/"))
    assert not findings(RULE, proxy("--upstream=http://web/", image="registry.example/a:1"))
    off = ("--pass-user-headers=false", "--pass-basic-auth=false")
    assert not findings(RULE, proxy("--upstream=http://web/", *off))
    apart = ("--pass-user-headers", "false", "--pass-basic-auth=false")
    assert findings(RULE, proxy("--upstream=http://web/", *apart)), "a flag takes no second word"


def test_server_beside_oauth2_proxy_is_found_if_it_declares_the_port() -> None:
    def pod(*args: str, port: int | None = 8080) -> list[Manifest]:
        proxy = container(image=PROXY, args=["--upstream=http://127.0.0.1:8080"])
        return [deployment(containers=[proxy, container(port=port, args=list(args))])]

    assert findings(RULE, pod())
    assert not findings(RULE, pod(port=None))
    assert not findings(RULE, pod("--listen=127.0.0.1:8080"))


@pytest.mark.parametrize(
    ("rule", "found"),
    [
        ({}, True),
        ({"from": []}, True),
        ({"from": [{"namespaceSelector": {}}]}, True),
        ({"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}, True),
        ({"from": [{"podSelector": {}}]}, True),
        ({"from": [{"namespaceSelector": {"matchLabels": {}}}]}, True),
        ({"from": [{"namespaceSelector": {"matchExpressions": [EVERY_NAMESPACE]}}]}, True),
        ({"from": [{"podSelector": {"matchLabels": {}, "matchExpressions": []}}]}, True),
        ({"from": [{"namespaceSelector": {}, "podSelector": {"matchExpressions": [HAS]}}]}, False),
        ({"from": [{"namespaceSelector": {"matchLabels": {"a": "gate"}}}]}, False),
        ({"from": [{"namespaceSelector": {}, "podSelector": {"matchLabels": {"a": "b"}}}]}, False),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}, False),
        ({"ports": [{"port": 9090}]}, False),
        ({"ports": [{"port": "http"}]}, True),
        ({"ports": [{"port": 8000, "endPort": 8100}]}, True),
        ({"ports": [{"port": 8080, "protocol": "UDP"}]}, False),
    ],
)
def test_network_policy_restricts_unless_it_admits_many(rule: Manifest, found: bool) -> None:
    others = deployment("other")
    assert bool(findings(RULE, [*EXPOSED, others, policy(rule)])) is found


def test_policies_add_up_and_one_for_other_pods_does_not_count() -> None:
    closed, open_ = policy(), policy({})
    open_["metadata"]["name"] = "open"
    assert not findings(RULE, [*EXPOSED, closed])
    assert findings(RULE, [*EXPOSED, closed, open_])
    assert findings(RULE, [*EXPOSED, policy(pods={"matchLabels": {"app": "other"}})])
    assert findings(RULE, [*EXPOSED, policy(policyTypes=["Egress"])])


def test_pods_of_the_namespace_are_nobody_if_there_are_no_others() -> None:
    assert not findings(RULE, [*EXPOSED, policy({"from": [{"podSelector": {}}]})])


def test_identity_restricts_only_if_it_is_enforced_and_governed() -> None:
    chosen = builders.unverified("http", namespaceSelector={"matchLabels": {"a": "b"}})
    world = builders.unverified("http", cidrs=["0.0.0.0/0"])
    every = [{"key": "kubernetes.io/metadata.name", "operator": "Exists"}]
    anyone = builders.unverified("http", namespaceSelector={"matchExpressions": every})

    def web(*accepts: Manifest, **spec: Any) -> Manifest:
        return builders.identity("web", ports=[("http", 8080)], accepts=accepts, **spec)

    assert not findings(RULE, [*EXPOSED, web(chosen)])
    assert not findings(RULE, [*EXPOSED, web(builders.accept("gate", "http"))])
    assert findings(RULE, [*EXPOSED, web(world)])
    assert findings(RULE, [*EXPOSED, web(anyone)])
    assert findings(RULE, [*EXPOSED, web(chosen, enforcement="Observe")])
    assert findings(RULE, [*EXPOSED, web(chosen), builders.domain()]), "no domain governs it"


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"rules": [{"from": [{"source": {"principals": ["a/gate"]}}]}]}, False),
        ({"rules": [{"from": [{"source": {"principals": ["*"]}}]}]}, True),
        ({"rules": [{"from": [{"source": {"requestPrincipals": ["*"]}}]}]}, False),
        ({"rules": [{}]}, True),
        ({}, False),
        (
            {
                "action": "DENY",
                "rules": [{"from": [{"source": {"notRequestPrincipals": ["*"]}}]}],
            },
            False,
        ),
        ({"selector": {"matchLabels": {"app": "other"}}}, True),
        ({"rules": [{"from": [{"source": {"principals": ["*", "a/gate"]}}]}]}, True),
        ({"action": "DENY", "rules": [{"from": [NOT_GATE]}]}, False),
        ({"action": "DENY", "rules": [{}]}, False),
        ({"action": "DENY", "rules": [{"from": [NOT_GATE], "to": [ADMIN]}]}, True),
        ({"action": "DENY", "rules": [{"from": [NOT_GATE], "when": [{"key": "a"}]}]}, True),
        ({"action": "DENY", "rules": [{"from": [also(NOT_GATE, ipBlocks=["10.0.0.0/8"])]}]}, True),
        ({"action": "DENY", "rules": [{"from": [{"source": {"notPrincipals": ["*"]}}]}]}, True),
        ({"action": "DENY", "rules": [{"from": [{"source": {"notPrincipals": []}}]}]}, True),
        ({"action": "AUDIT", "rules": [{"from": [NOT_GATE]}]}, True),
    ],
)
def test_authorization_policy_that_names_callers_restricts(spec: Manifest, found: bool) -> None:
    scene = [*EXPOSED, other("AuthorizationPolicy", "p", spec)]
    assert bool(findings(RULE, scene)) is found


def test_authorization_policies_that_allow_add_up() -> None:
    chosen = {"rules": [{"from": [GATE]}]}
    named = other("AuthorizationPolicy", "a", chosen)
    assert not findings(RULE, [*EXPOSED, named])
    assert findings(RULE, [*EXPOSED, named, other("AuthorizationPolicy", "b", {"rules": [{}]})])
    denial = {"action": "DENY", "rules": [{"from": [NOT_GATE]}]}
    everybody = other("AuthorizationPolicy", "b", {"rules": [{}]})
    assert not findings(RULE, [*EXPOSED, everybody, other("AuthorizationPolicy", "c", denial)])


def test_authorization_policy_in_the_root_namespace_of_the_mesh_restricts() -> None:
    def policy_in(namespace: str, **spec: Any) -> Manifest:
        return other("AuthorizationPolicy", "p", {"rules": [{"from": [GATE]}]} | spec, namespace)

    assert not findings(RULE, [*EXPOSED, policy_in("istio-system")])
    other_pods = {"matchLabels": {"app": "other"}}
    assert findings(RULE, [*EXPOSED, policy_in("istio-system", selector=other_pods)])
    assert findings(RULE, [*EXPOSED, policy_in("elsewhere")])


def test_fix_removes_the_finding_once_it_is_enforced() -> None:
    fix, after = fixed(RULE, EXPOSED)
    (identity,) = fix.manifests
    assert identity["spec"]["enforcement"] == "Observe", "nothing breaks before a person looked"
    assert findings(RULE, after)
    identity["spec"]["enforcement"] = "Enforce"
    assert not findings(RULE, after)


def test_fix_of_an_identity_replaces_the_wide_peer_alone() -> None:
    accepts = [
        builders.accept("checkout", "http"),
        builders.unverified("http", cidrs=["0.0.0.0/0"]),
    ]
    identity = builders.identity("web", ports=[("http", 8080)], accepts=accepts)
    fix, after = fixed(RULE, [*EXPOSED, identity])
    kept, gateway = fix.patches[0].patch["spec"]["accepts"]
    assert kept == {"from": {"name": "checkout"}, "ports": ["http"]}
    assert "namespaceSelector" in gateway["unverified"]
    assert not findings(RULE, after)


def test_fix_closes_the_port_of_a_server_beside_its_proxy() -> None:
    proxy = container(port=4180, image=PROXY, args=["--upstream=http://127.0.0.1:8080"])
    fix, after = fixed(RULE, [deployment(containers=[proxy, container(port=8080)])])
    (identity,) = fix.manifests
    assert [each["port"] for each in identity["spec"]["workload"]["ports"]] == [4180]
    identity["spec"]["enforcement"] = "Enforce"
    assert not findings(RULE, after)
